/** A finished model as a Hugging Face folder; no native code. May import weights and checkpoint's manifest. */
@NullMarked
package ulysses.runtime.export;

import org.jspecify.annotations.NullMarked;
