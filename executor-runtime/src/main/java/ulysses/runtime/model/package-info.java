/** The decoder-only language model as a chain of segments. May import attention, segment and weights. */
@NullMarked
package ulysses.runtime.model;

import org.jspecify.annotations.NullMarked;
