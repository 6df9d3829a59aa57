/** Reduction and statistics of gradients. May import model and collective. */
@NullMarked
package ulysses.runtime.gradient;

import org.jspecify.annotations.NullMarked;
