/**
 * What a run needs and whether it can be had, found out before a GPU is asked for. May import config, mesh, weights, checkpoint's
 * store and launch, and Spark.
 */
@NullMarked
package ulysses.driver.plan;

import org.jspecify.annotations.NullMarked;
