/** What a run needs and whether it can be had, found out before a GPU is asked for. May import config and mesh, and Spark. */
@NullMarked
package ulysses.driver.plan;

import org.jspecify.annotations.NullMarked;
