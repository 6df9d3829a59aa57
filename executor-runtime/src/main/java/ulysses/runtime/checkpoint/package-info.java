/** Complete states of a run on any Hadoop file system. May import weights, model, optimizer and data. */
@NullMarked
package ulysses.runtime.checkpoint;

import org.jspecify.annotations.NullMarked;
