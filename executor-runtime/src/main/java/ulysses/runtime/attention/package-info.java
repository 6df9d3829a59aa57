/** Ulysses attention: head scatter, core attention, head gather. May import segment, collective and mesh. */
@NullMarked
package ulysses.runtime.attention;

import org.jspecify.annotations.NullMarked;
