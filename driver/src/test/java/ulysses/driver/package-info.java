/** What the tests of the driver share. */
@NullMarked
package ulysses.driver;

import org.jspecify.annotations.NullMarked;
