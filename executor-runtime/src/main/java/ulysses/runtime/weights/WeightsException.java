package ulysses.runtime.weights;

import ulysses.runtime.config.MessageText;

/** A model folder, its configuration or a weight file can't be used; the message says what, where and what to do. */
public final class WeightsException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public WeightsException(String message) {
        super(MessageText.shortened(message));
    }

    public WeightsException(String message, Throwable cause) {
        super(MessageText.shortened(message), cause);
    }
}
