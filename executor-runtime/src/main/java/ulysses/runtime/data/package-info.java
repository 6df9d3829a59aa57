/** Packed rows on disk and the batches a rank takes from them; no native code. May import config and mesh. */
@NullMarked
package ulysses.runtime.data;

import org.jspecify.annotations.NullMarked;
