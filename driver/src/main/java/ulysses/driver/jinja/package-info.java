/** Runs the Jinja templates that come with tokenizers, as transformers sets Jinja up for them. Imports nothing of ours but JSON text. */
@NullMarked
package ulysses.driver.jinja;

import org.jspecify.annotations.NullMarked;
