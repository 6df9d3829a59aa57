/** Which rank does what: pure arithmetic. May import config. */
@NullMarked
package ulysses.runtime.mesh;

import org.jspecify.annotations.NullMarked;
