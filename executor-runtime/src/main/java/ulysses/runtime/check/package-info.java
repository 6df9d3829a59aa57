/** What proves a machine: the CUDA path against the CPU path, run by {@code deploy/gpu-check.sh}. */
@NullMarked
package ulysses.runtime.check;

import org.jspecify.annotations.NullMarked;
