/** From dataset_info.json and files to examples with a stable row number. May import {@code runtime.config}; no tokenizer here. */
@NullMarked
package ulysses.driver.dataset;

import org.jspecify.annotations.NullMarked;
