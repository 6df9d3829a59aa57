/** AdamW, its schedule and who owns which part of its state. May import gradient, model and collective. */
@NullMarked
package ulysses.runtime.optimizer;

import org.jspecify.annotations.NullMarked;
