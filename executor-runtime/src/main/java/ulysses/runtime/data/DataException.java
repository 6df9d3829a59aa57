package ulysses.runtime.data;

import ulysses.runtime.config.MessageText;

/**
 * The user's data can't be used as it is: a file is missing, damaged or of another kind, a row can't be read, or no row is left.
 * The message says which file, where in it and what to do, and is shown to the user as it is.
 */
public final class DataException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public DataException(String message) {
        super(MessageText.shortened(message));
    }

    public DataException(String message, Throwable cause) {
        super(MessageText.shortened(message), cause);
    }
}
