/** From examples to packed rows on disk. May import {@code driver.dataset}, {@code driver.tokenizer} and {@code runtime.data}. */
@NullMarked
package ulysses.driver.packing;

import org.jspecify.annotations.NullMarked;
