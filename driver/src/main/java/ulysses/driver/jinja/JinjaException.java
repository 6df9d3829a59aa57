package ulysses.driver.jinja;

/** A template that can't be read or run, or that refuses what it is given ({@code raise_exception}). */
public final class JinjaException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private static final int LONGEST = 1000; // chars: templates and data may put any text into a message

    JinjaException(String message) {
        super(message.length() <= LONGEST ? message : message.substring(0, LONGEST) + "...");
    }
}
