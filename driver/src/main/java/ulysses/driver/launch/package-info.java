/**
 * One barrier stage per attempt, one child JVM per task: starts ranks, follows them, ends them. May import config, mesh and weights
 * of executor-runtime, and Spark.
 */
@NullMarked
package ulysses.driver.launch;

import org.jspecify.annotations.NullMarked;
