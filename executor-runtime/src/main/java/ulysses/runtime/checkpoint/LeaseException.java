package ulysses.runtime.checkpoint;

/** Another run trains into the folder. The message says who, since when, and what to do. */
public final class LeaseException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    LeaseException(String message) {
        super(message);
    }
}
