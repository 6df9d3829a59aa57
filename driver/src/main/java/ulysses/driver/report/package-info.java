/**
 * What people look at: the journal of a run, pictures of its curves, its model card and its page; and the services that follow it.
 * Everything is made from the run's own files. May import launch, packing and tokenizer, and of executor-runtime config, data, mesh
 * and weights.
 */
@NullMarked
package ulysses.driver.report;

import org.jspecify.annotations.NullMarked;
