package ulysses.driver.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.io.Serializable;
import java.time.LocalDate;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import ulysses.driver.jinja.JinjaException;
import ulysses.driver.jinja.JinjaTemplate;
import ulysses.runtime.config.ConfigException;

/** The chat template that came with a tokenizer, run as transformers' {@code apply_chat_template} runs it. */
final class TokenizerChat implements Serializable {
    private static final long serialVersionUID = 1L;
    private static final Logger LOG = LoggerFactory.getLogger(TokenizerChat.class);
    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
    private static final DateTimeFormatter DATE = DateTimeFormatter.ofPattern("dd MMM yyyy", Locale.ENGLISH);
    private static final String CONTENT = "{{content}}";

    private final String source;
    private final LinkedHashMap<String, String> tokens;
    private final LocalDate today;
    private final String prefix;
    private transient @Nullable JinjaTemplate template;

    private TokenizerChat(String source, Map<String, String> tokens, LocalDate today, String prefix) {
        this.source = source;
        this.tokens = new LinkedHashMap<>(tokens);
        this.today = today;
        this.prefix = prefix;
    }

    /**
     * The chat template of a tokenizer; empty if it has none.
     *
     * @throws ConfigException for a template that can't be read
     */
    static Optional<TokenizerChat> of(Tokenizer tokenizer, ChatEncoder.Options options) {
        Optional<TokenizerChat> chat = tokenizer
                .chatTemplate()
                .map(source -> new TokenizerChat(
                        source,
                        tokenizer.namedTokens(),
                        LocalDate.parse(options.toolDate(), DATE),
                        tokenizer.addedToEmptyText()));
        try {
            chat.ifPresent(TokenizerChat::template);
        } catch (JinjaException problem) {
            throw new ConfigException(
                    "the data settings",
                    List.of(
                            "the chat template of the tokenizer in %s can't be read: %s; set template to one of templates.yaml"
                                    .formatted(tokenizer.folder(), problem.getMessage())));
        }
        return chat;
    }

    private JinjaTemplate template() {
        JinjaTemplate current = template;
        if (current == null) {
            current = JinjaTemplate.parse(source);
            template = current;
        }
        return current;
    }

    /**
     * Text of a conversation.
     *
     * @param messages as transformers has them
     * @param tools a list, or null
     * @param generation whether the header of the next answer ends it
     * @param extra further names
     * @throws JinjaException where the template refuses it
     */
    JinjaTemplate.Rendered render(JsonNode messages, JsonNode tools, boolean generation, Map<String, JsonNode> extra) {
        Map<String, JsonNode> names = new LinkedHashMap<>();
        tokens.forEach((name, token) -> names.put(name, TextNode.valueOf(token)));
        names.put("messages", messages);
        names.put("tools", tools);
        names.put("documents", NODES.nullNode());
        names.put("add_generation_prompt", NODES.booleanNode(generation));
        names.putAll(extra);
        return template().render(names, today);
    }

    private String render(boolean generation, ObjectNode... messages) {
        ArrayNode all = NODES.arrayNode();
        all.addAll(List.of(messages));
        String text = render(all, NODES.nullNode(), generation, Map.of()).text();
        return text.substring(Math.min(prefix.length(), text.length()));
    }

    static ObjectNode message(String role, String content) {
        return NODES.objectNode().put("role", role).put("content", content);
    }

    /**
     * The slots that LLaMA-Factory's {@code parse_template} finds: it renders conversations of placeholders and cuts them up. Empty
     * where the template refuses one of them.
     */
    Optional<ChatTemplate> parsed() {
        try {
            return Optional.of(slots());
        } catch (JinjaException | StringIndexOutOfBoundsException refused) {
            LOG.info(
                    "template is not set, and the tokenizer's chat template can't be taken apart as LLaMA-Factory does ({}): it is run on"
                            + " every conversation",
                    refused.getMessage());
            return Optional.empty();
        }
    }

    private ChatTemplate slots() {
        ObjectNode question = message("user", CONTENT);
        String system = render(false, message("system", CONTENT));
        String userBehindEmptySystem = render(true, message("system", ""), question);
        String user = render(true, question);
        String assistant =
                render(false, question, message("assistant", CONTENT)).substring(user.length());
        boolean thinking = assistant.contains("<think>");
        assistant = assistant.replace("<think>", "").replace("</think>", "").replaceFirst("^\n+", "");
        String defaultSystem = "";
        if (user.length() > userBehindEmptySystem.length()) {
            defaultSystem = onlyInLonger(userBehindEmptySystem, user);
            user = user.substring(replaceFirst(system, defaultSystem).length());
        }
        List<SlotElement> userSlot = List.of(new SlotElement.Text(user));
        List<SlotElement> assistantSlot = List.of(new SlotElement.Text(assistant));
        return new ChatTemplate(
                "(the tokenizer's, taken apart)",
                prefix.isEmpty() ? List.of() : List.of(new SlotElement.Text(prefix)),
                List.of(new SlotElement.Text(system)),
                userSlot,
                assistantSlot,
                assistantSlot,
                userSlot,
                null,
                ToolFormat.DEFAULT,
                defaultSystem,
                List.of(),
                false,
                false,
                false,
                thinking,
                ChatTemplate.THOUGHT_WORDS,
                String.join("", ChatTemplate.THOUGHT_WORDS),
                ChatTemplate.TOOL_CALL_WORDS);
    }

    private static String replaceFirst(String text, String content) {
        return new SlotElement.Text(text).with("content", content).text();
    }

    /** The characters of the longer text that are left when the shorter one is taken out in order. */
    private static String onlyInLonger(String shorter, String longer) {
        StringBuilder only = new StringBuilder();
        int at = 0;
        for (int i = 0; i < longer.length() && at < shorter.length(); i++) {
            if (shorter.charAt(at) == longer.charAt(i)) {
                at++;
            } else {
                only.append(longer.charAt(i));
            }
        }
        return only.toString();
    }
}
