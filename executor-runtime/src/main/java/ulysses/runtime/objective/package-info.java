/** Hidden states and labels to loss and gradient of the hidden states. May import model and collective. */
@NullMarked
package ulysses.runtime.objective;

import org.jspecify.annotations.NullMarked;
