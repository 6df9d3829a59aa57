package ulysses.runtime.training;

/** Training can't go on: loss or gradients were not finite for too many steps in a row. The message says where and what to do. */
public final class DivergedException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** {@code message} is shown to the user as it is. */
    public DivergedException(String message) {
        super(message);
    }
}
