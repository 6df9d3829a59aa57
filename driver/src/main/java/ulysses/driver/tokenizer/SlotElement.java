package ulysses.driver.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.Serializable;

/** One separately tokenized piece of a chat template. */
sealed interface SlotElement extends Serializable {

    /** Text, with or without placeholders. */
    record Text(String text) implements SlotElement {

        /** Puts a value in place of the first {@code {{name}}}; a value that holds another placeholder keeps it open. */
        Text with(String name, String value) {
            String placeholder = "{{" + name + "}}";
            int at = text.indexOf(placeholder);
            return at < 0 ? this : new Text(text.substring(0, at) + value + text.substring(at + placeholder.length()));
        }
    }

    /** The tokenizer's token for begin of text; nothing where it has none. */
    record Bos() implements SlotElement {}

    /** The token for end of text after the template changed it; nothing where there is none. */
    record Eos() implements SlotElement {}

    /** A token by its name. */
    record Token(String name) implements SlotElement {}

    /**
     * An element as templates.yaml writes it.
     *
     * @throws IllegalArgumentException for anything else
     */
    static SlotElement of(JsonNode node) {
        if (node.isTextual()) {
            return new Text(node.textValue());
        }
        if (node.path("token").isTextual()) {
            return new Token(node.path("token").textValue());
        }
        String special = node.path("special").asText();
        return switch (special) {
            case "bos" -> new Bos();
            case "eos" -> new Eos();
            default ->
                throw new IllegalArgumentException(
                        "element %s is neither text nor {special: bos}, {special: eos} or {token: ...}"
                                .formatted(node));
        };
    }
}
