/** Pieces of a step with forward and backward written next to each other. May import memory. */
@NullMarked
package ulysses.runtime.segment;

import org.jspecify.annotations.NullMarked;
