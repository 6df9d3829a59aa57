package ulysses.driver.jinja;

/** A template that can't be read or run, or that refuses what it is given ({@code raise_exception}). */
public final class JinjaException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    JinjaException(String message) {
        super(message);
    }
}
