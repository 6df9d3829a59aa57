package ulysses.driver.dataset;

import java.io.Serializable;
import java.util.List;

/** What a row means after its columns are mapped; still text. */
public sealed interface Example extends Serializable {

    /** Who wrote a message. User and observation are prompts, assistant and function are answers. */
    enum Role {
        USER,
        ASSISTANT,
        /** What a tool returned. */
        OBSERVATION,
        /** A tool call, as JSON. */
        FUNCTION
    }

    /**
     * One message of a conversation.
     *
     * @param role who wrote it
     * @param content its text; empty is allowed
     */
    record Message(Role role, String content) implements Serializable {}

    /**
     * A text without an answer, for pretraining.
     *
     * @param text the whole document
     */
    record PlainText(String text) implements Example {}

    /**
     * Prompts and answers in turn; an even number, prompt first.
     *
     * @param messages at least two
     * @param system the system text; empty means the template's default
     * @param tools the tools as a JSON list; empty means none
     */
    record Conversation(List<Message> messages, String system, String tools) implements Example {
        public Conversation {
            messages = List.copyOf(messages);
            if (messages.isEmpty() || messages.size() % 2 != 0) {
                throw new IllegalArgumentException("a conversation needs pairs of prompt and answer but has %d messages"
                        .formatted(messages.size()));
            }
        }
    }

    /**
     * A prompt with a better and a worse answer.
     *
     * @param prompt an odd number of messages, prompt first and last
     * @param chosen the better answer
     * @param rejected the worse answer
     * @param system the system text; empty means the template's default
     * @param tools the tools as a JSON list; empty means none
     */
    record Preference(List<Message> prompt, Message chosen, Message rejected, String system, String tools)
            implements Example {
        public Preference {
            prompt = List.copyOf(prompt);
            if (prompt.size() % 2 != 1) {
                throw new IllegalArgumentException(
                        "a preference needs an odd number of prompt messages but has %d".formatted(prompt.size()));
            }
        }
    }

    /**
     * A row that can't be used; it is counted under its reason and left out.
     *
     * @param reason short and the same for all rows of its kind, for the report
     */
    record Unusable(String reason) implements Example {}
}
