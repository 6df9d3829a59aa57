package ulysses.driver.launch;

import org.jspecify.annotations.Nullable;

/** The run did not end well; the message is meant for the user, the kind for the exit code. */
public final class LaunchException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final FailureKind kind;

    public LaunchException(FailureKind kind, String message) {
        this(kind, message, null);
    }

    public LaunchException(FailureKind kind, String message, @Nullable Throwable cause) {
        super(message, cause);
        this.kind = kind;
    }

    /** Decides the exit code. */
    public FailureKind kind() {
        return kind;
    }
}
