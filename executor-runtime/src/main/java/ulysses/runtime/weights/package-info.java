/** Models on disk in Hugging Face form, read and written without native code; imports config only. */
@NullMarked
package ulysses.runtime.weights;

import org.jspecify.annotations.NullMarked;
