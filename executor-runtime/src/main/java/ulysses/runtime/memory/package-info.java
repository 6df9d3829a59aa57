/** Native memory behind two words, scope and keep; imports nothing else of ours. */
@NullMarked
package ulysses.runtime.memory;

import org.jspecify.annotations.NullMarked;
