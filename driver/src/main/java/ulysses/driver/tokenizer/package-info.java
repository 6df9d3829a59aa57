/** From text and messages to token ids. May import {@code driver.dataset} and {@code runtime.config}. */
@NullMarked
package ulysses.driver.tokenizer;

import org.jspecify.annotations.NullMarked;
