package ulysses.runtime.weights;

import org.jspecify.annotations.Nullable;

/** A file system could not do what was asked, or holds something damaged; the message says what, where and what to do. */
public class StorageException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public StorageException(String message) {
        super(message);
    }

    public StorageException(String message, @Nullable Throwable cause) {
        super(message, cause);
    }
}
