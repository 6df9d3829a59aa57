/** What the user asked for, as immutable records; imports nothing else of ours. */
@NullMarked
package ulysses.runtime.config;

import org.jspecify.annotations.NullMarked;
