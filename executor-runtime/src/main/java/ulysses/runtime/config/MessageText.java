package ulysses.runtime.config;

/** Text for a person. */
public final class MessageText {
    /** Characters; what files hold is quoted in messages, and a value may be a whole document. */
    private static final int LONGEST = 4000;

    private MessageText() {}

    /** {@code message} without its middle if it is long: what is wrong stands at its begin, what to do at its end. */
    public static String shortened(String message) {
        int half = LONGEST / 2;
        return message.length() <= LONGEST
                ? message
                : message.substring(0, half) + " ... " + message.substring(message.length() - half);
    }
}
