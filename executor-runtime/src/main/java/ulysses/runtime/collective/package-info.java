/** Operations over a group of ranks (NCCL, Gloo). May import mesh and memory. */
@NullMarked
package ulysses.runtime.collective;

import org.jspecify.annotations.NullMarked;
