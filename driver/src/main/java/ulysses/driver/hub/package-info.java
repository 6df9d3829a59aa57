/**
 * Models and adapters of the Hugging Face hub: found in its cache folder or downloaded into it, by the driver, before a run begins.
 */
@NullMarked
package ulysses.driver.hub;

import org.jspecify.annotations.NullMarked;
