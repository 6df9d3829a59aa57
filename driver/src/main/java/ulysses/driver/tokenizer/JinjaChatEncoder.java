package ulysses.driver.tokenizer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import ulysses.driver.dataset.Example.Message;
import ulysses.driver.dataset.PythonJson;
import ulysses.driver.jinja.JinjaException;
import ulysses.driver.jinja.JinjaTemplate.Rendered;
import ulysses.driver.jinja.JinjaTemplate.Span;
import ulysses.runtime.data.DataException;

/**
 * The tokenizer's chat template run on every conversation as a whole; the ids are those of transformers' {@code apply_chat_template}.
 * An answer is what follows the header of its turn, up to the header of the next message: where the template marks answers with
 * {@code generation}, what it marks.
 */
final class JinjaChatEncoder implements ChatEncoder {
    private static final long serialVersionUID = 1L;
    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

    private final TokenizerChat chat;
    private final Tokenizer tokenizer;
    private final Options options;
    private final SpecialTokens special;
    private final LiteralTokens literal;

    JinjaChatEncoder(TokenizerChat chat, Tokenizer tokenizer, Options options) {
        this.chat = chat;
        this.options = options;
        ChatTemplate plain = ChatTemplates.of(null, tokenizer.hadoop()).named("empty");
        this.special = SpecialTokens.of(plain, tokenizer);
        this.tokenizer = tokenizer.withSpecialTokens(special.cutOut());
        this.literal = options.keepsLiterals() ? LiteralTokens.of(this.tokenizer.specialTokens()) : LiteralTokens.off();
    }

    @Override
    public Tokenizer tokenizer() {
        return tokenizer;
    }

    @Override
    public SpecialTokens specialTokens() {
        return special;
    }

    @Override
    public String textEnd() {
        return special.eosToken();
    }

    @Override
    public boolean efficientEos() {
        return false;
    }

    @Override
    public boolean preservesThinking() {
        return true; // the template decides about thoughts
    }

    @Override
    public Optional<String> asJinja() {
        return Optional.empty();
    }

    @Override
    public String description() {
        return "(the tokenizer's)";
    }

    @Override
    public int[] text(String before, String text, String after) {
        return literal.encode(tokenizer, before + literal.mark(text) + after);
    }

    @Override
    public List<Turn> turns(List<Message> messages, String system, String tools, EarlierThoughts earlierThoughts) {
        return cut(messages, system, tools, answers(messages));
    }

    @Override
    public Turn oneTurn(List<Message> messages, String system, String tools) {
        return cut(messages, system, tools, List.of(messages.size() - 1)).get(0);
    }

    private static List<Integer> answers(List<Message> messages) {
        List<Integer> answers = new ArrayList<>();
        for (int i = 1; i < messages.size(); i += 2) {
            answers.add(i);
        }
        return answers;
    }

    /** The text of all messages, cut behind each of {@code answers}. */
    private List<Turn> cut(List<Message> messages, String system, String tools, List<Integer> answers) {
        Conversation conversation = conversation(messages, system, tools);
        Rendered whole = conversation.rendered(messages.size(), false);
        List<Span> spans = whole.generated().size() == answers.size()
                ? whole.generated()
                : conversation.spans(whole.text(), answers);
        EncodedText encoded = literal.encodeWithPlaces(tokenizer, whole.text());
        List<Turn> turns = new ArrayList<>();
        int from = 0;
        for (int i = 0; i < spans.size(); i++) {
            int start = tokenAt(encoded, from, spans.get(i).start());
            int end =
                    i + 1 == spans.size() && spans.get(i).end() == whole.text().length()
                            ? encoded.ids().length
                            : tokenBehind(encoded, start, spans.get(i).end());
            turns.add(new Turn(
                    Arrays.copyOfRange(encoded.ids(), from, start), Arrays.copyOfRange(encoded.ids(), start, end)));
            from = end;
        }
        return turns;
    }

    private static int tokenAt(EncodedText encoded, int from, int place) {
        int token = from;
        while (token < encoded.ids().length && encoded.ends()[token] <= place) {
            token++;
        }
        return token;
    }

    private static int tokenBehind(EncodedText encoded, int from, int place) {
        int token = from;
        while (token < encoded.ids().length && encoded.starts()[token] < place) {
            token++;
        }
        return token;
    }

    private Conversation conversation(List<Message> messages, String system, String tools) {
        ArrayNode all = NODES.arrayNode();
        String given = system.isEmpty() && options.defaultSystem() != null ? options.defaultSystem() : system;
        if (!given.isEmpty()) {
            all.add(TokenizerChat.message("system", literal.mark(given)));
        }
        int leading = all.size();
        messages.forEach(message -> all.add(message(message)));
        JsonNode list = tools.isEmpty() ? NODES.nullNode() : json(tools, "tools");
        return new Conversation(all, leading, list.isEmpty() ? NODES.nullNode() : list);
    }

    private ObjectNode message(Message message) {
        return switch (message.role()) {
            case USER -> TokenizerChat.message("user", literal.mark(message.content()));
            case ASSISTANT -> TokenizerChat.message("assistant", literal.mark(message.content()));
            case OBSERVATION -> TokenizerChat.message("tool", literal.mark(message.content()));
            case FUNCTION -> callMessage(message.content());
        };
    }

    private ObjectNode callMessage(String content) {
        ObjectNode message = TokenizerChat.message("assistant", "");
        ArrayNode calls = message.putArray("tool_calls");
        for (ToolFormat.Call call : ToolFormat.calls(json(content, "a function call"))) {
            ObjectNode function = calls.addObject().put("type", "function").putObject("function");
            function.put("name", call.name()).set("arguments", call.arguments());
        }
        return message;
    }

    private JsonNode json(String text, String what) {
        try {
            return literal.mark(PythonJson.parse(text));
        } catch (JsonProcessingException damaged) {
            throw new DataException("%s is not valid JSON: %s".formatted(what, damaged.getOriginalMessage()), damaged);
        }
    }

    /** Messages as the template gets them; the first {@code leading} ones are not of the row. */
    private final class Conversation {
        private final ArrayNode messages;
        private final int leading;
        private final JsonNode tools;

        private Conversation(ArrayNode messages, int leading, JsonNode tools) {
            this.messages = messages;
            this.leading = leading;
            this.tools = tools;
        }

        private Rendered rendered(int count, boolean generation) {
            ArrayNode first = NODES.arrayNode();
            for (int i = 0; i < leading + count; i++) {
                first.add(messages.get(i));
            }
            Map<String, JsonNode> extra = options.thinking() == Thinking.REMOVED
                    ? Map.of("enable_thinking", NODES.booleanNode(false))
                    : Map.of();
            try {
                return chat.render(first, tools, generation, extra);
            } catch (JinjaException refused) {
                throw new DataException(
                        "the tokenizer's chat template refuses the conversation: %s; change the row, or set template to one of templates.yaml"
                                .formatted(refused.getMessage()),
                        refused);
            }
        }

        private List<Span> spans(String whole, List<Integer> answers) {
            List<Span> spans = new ArrayList<>();
            int from = 0;
            for (int answer : answers) {
                spans.add(span(whole, answer, from));
                from = spans.get(spans.size() - 1).end();
            }
            return spans;
        }

        /** Where an answer stands in the text of all messages, behind the answer that ends at {@code from}. */
        private Span span(String whole, int answer, int from) {
            String before = rendered(answer, false).text();
            String prompt = rendered(answer, true).text();
            String upToAnswer = rendered(answer + 1, false).text();
            if (whole.startsWith(prompt) && whole.startsWith(upToAnswer) && upToAnswer.startsWith(prompt)) {
                return new Span(prompt.length(), upToAnswer.length());
            }
            for (String header :
                    prompt.startsWith(before) ? headers(prompt.substring(before.length())) : List.<String>of()) {
                int at = whole.indexOf(header, from);
                if (at >= 0 && upToAnswer.startsWith(before + header)) {
                    int start = at + header.length();
                    int length = keptOf(upToAnswer.substring(before.length() + header.length()), answer, whole, start);
                    if (length > 0) {
                        return new Span(start, start + length);
                    }
                }
            }
            throw new DataException(
                    "the tokenizer's chat template rewrites earlier messages, so that answer %d can't be found in the conversation; set template to one of templates.yaml"
                            .formatted(answer / 2 + 1));
        }

        /** What begins an answer: the header, and its first line, because a thought that it opens may be left out later. */
        private List<String> headers(String header) {
            int line = header.indexOf('\n') + 1;
            return header.isEmpty()
                    ? List.of()
                    : line == 0 || line == header.length()
                            ? List.of(header)
                            : List.of(header, header.substring(0, line));
        }

        /** Templates leave out the beginnings (thoughts) of earlier answers: chars of what they keep at {@code start}; 0 if nothing. */
        private int keptOf(String alone, int answer, String whole, int start) {
            String kept = kept(messages.get(leading + answer));
            for (int from = 0; from < alone.length() && alone.indexOf(kept, from) >= 0; from++) {
                if (whole.startsWith(alone.substring(from), start)) {
                    return alone.length() - from;
                }
            }
            return 0;
        }

        /** What a template writes of an answer in any case: the name of a call, or the text behind its thought. */
        private String kept(JsonNode message) {
            JsonNode call = message.path("tool_calls").path(0);
            String content = message.path("content").asText();
            int thought = content.lastIndexOf("</think>");
            return call.isMissingNode()
                    ? content.substring(thought < 0 ? 0 : thought + "</think>".length())
                            .strip()
                    : call.path("function").path("name").asText();
        }
    }
}
