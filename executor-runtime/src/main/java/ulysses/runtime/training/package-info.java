/** One rank's life: the step, the loop and the process round them. May import everything above. */
@NullMarked
package ulysses.runtime.training;

import org.jspecify.annotations.NullMarked;
