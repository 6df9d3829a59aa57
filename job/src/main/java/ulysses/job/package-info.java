/** Command line and wiring; imports driver and of executor-runtime what holds no native code. */
@NullMarked
package ulysses.job;

import org.jspecify.annotations.NullMarked;
