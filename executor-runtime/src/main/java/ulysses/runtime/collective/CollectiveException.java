package ulysses.runtime.collective;

/** Ranks lost each other: the attempt can't go on, a new one from the last checkpoint may. */
public final class CollectiveException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    CollectiveException(String message) {
        super(message);
    }

    CollectiveException(String message, Throwable cause) {
        super(message, cause);
    }

    /** What {@code e} says without the C++ stack that native messages carry. */
    static String firstLine(RuntimeException e) {
        return String.valueOf(e.getMessage()).lines().findFirst().orElse("no message");
    }
}
