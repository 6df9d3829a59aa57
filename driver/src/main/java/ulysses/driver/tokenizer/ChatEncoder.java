package ulysses.driver.tokenizer;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import ulysses.driver.dataset.Example.Message;

/**
 * Messages to token ids: a {@link ChatTemplate} with a {@link Tokenizer} and the options that LLaMA-Factory applies to both. Every
 * element of the template is tokenized on its own, so nothing merges across their seams.
 */
public final class ChatEncoder implements Serializable {
    private static final long serialVersionUID = 1L;

    /**
     * Options of a run that change a template.
     *
     * @param defaultSystem {@code default_system}; null keeps the template's
     * @param toolFormat {@code tool_format}; null keeps the template's
     * @param thinking {@code enable_thinking}
     * @param preservesThinking {@code preserve_thinking}
     * @param toolDate the date that llama3's tool prompt shows
     */
    public record Options(
            @Nullable String defaultSystem,
            @Nullable String toolFormat,
            Thinking thinking,
            boolean preservesThinking,
            String toolDate)
            implements Serializable {}

    /**
     * A question and its answer.
     *
     * @param source ids of the question with all that stands before the answer
     * @param target ids of the answer
     */
    @SuppressWarnings("ArrayRecordComponent") // never compared; handed on at once
    public record Turn(int[] source, int[] target) {}

    private final ChatTemplate template;
    private final Tokenizer tokenizer;
    private final Options options;
    private final FunctionText calls;
    private final List<SlotElement> function;
    private final String defaultSystem;
    private final Pattern thought;
    private final SpecialTokens special;

    /** Refuses a tokenizer that lacks the tokens of the template. */
    public ChatEncoder(ChatTemplate template, Tokenizer tokenizer, Options options) {
        this.template = template;
        this.options = options;
        this.special = SpecialTokens.of(template, tokenizer);
        this.tokenizer = tokenizer.withSpecialTokens(special.cutOut());
        this.defaultSystem = options.defaultSystem() == null ? template.defaultSystem() : options.defaultSystem();
        this.thought = Pattern.compile(
                template.thoughtWords().stream().map(Pattern::quote).collect(Collectors.joining("(.*?)")),
                Pattern.DOTALL);
        this.function =
                options.toolFormat() == null ? template.function() : ChatTemplate.answer(template.efficientEos());
        ToolFormat format =
                options.toolFormat() == null ? template.toolFormat() : ToolFormat.named(options.toolFormat());
        this.calls = new FunctionText(format, template.systemInUser() ? List.of() : List.of(thought));
    }

    /** The tokenizer as the template leaves it. */
    public Tokenizer tokenizer() {
        return tokenizer;
    }

    /** Begin, end and padding as the template leaves them. */
    public SpecialTokens specialTokens() {
        return special;
    }

    /** Whether one end token stands behind the last answer instead of one behind each. */
    public boolean efficientEos() {
        return template.efficientEos();
    }

    /** Whether thoughts in earlier answers stay although they are not trained. */
    public boolean preservesThinking() {
        return options.preservesThinking();
    }

    /**
     * All turns of a conversation.
     *
     * @param messages pairs of question and answer
     * @param system the system text; empty means the default
     * @param tools the tools as JSON; empty means none
     * @param earlierThoughts of templates that think: whether the thoughts before the last answer stay
     */
    public List<Turn> turns(List<Message> messages, String system, String tools, EarlierThoughts earlierThoughts) {
        List<Message> edited = new ArrayList<>(messages);
        boolean drops = template.thinking() && earlierThoughts == EarlierThoughts.REMOVED;
        if (template.thinking() && options.thinking() == Thinking.REMOVED) {
            removeThoughts(edited, edited.size());
        }
        if (drops) {
            removeThoughts(edited, edited.size() - 2);
        }
        List<int[]> ids = encode(edited, system, tools);
        if (template.thinking()) {
            for (int i = drops ? edited.size() - 2 : 0; i < edited.size(); i += 2) {
                addEmptyThought(edited.get(i + 1), ids, i);
            }
        }
        List<Turn> turns = new ArrayList<>();
        for (int i = 0; i < ids.size(); i += 2) {
            turns.add(new Turn(ids.get(i), ids.get(i + 1)));
        }
        return turns;
    }

    /** What happens to thoughts before the last answer. */
    public enum EarlierThoughts {
        KEPT,
        REMOVED
    }

    /** A whole conversation as one prompt and its last answer, for preference pairs. */
    public Turn oneTurn(List<Message> messages, String system, String tools) {
        List<Message> edited = new ArrayList<>(messages);
        int last = edited.size() - 1;
        if (template.thinking() && !options.preservesThinking()) {
            removeThoughts(edited, edited.size() - 2);
        }
        if (template.thinking() && options.thinking() == Thinking.REMOVED) {
            edited.set(last, withoutThought(edited.get(last)));
        }
        List<int[]> ids = encode(edited, system, tools);
        if (template.thinking()) {
            addEmptyThought(edited.get(last), ids, last - 1);
        }
        return new Turn(concatenate(ids.subList(0, last)), ids.get(last));
    }

    private void removeThoughts(List<Message> messages, int end) {
        for (int i = 1; i < end; i += 2) {
            messages.set(i, withoutThought(messages.get(i)));
        }
    }

    private Message withoutThought(Message message) {
        String rest = thought.matcher(message.content()).replaceAll("");
        int start = 0;
        while (start < rest.length() && rest.charAt(start) == '\n') {
            start++;
        }
        return new Message(message.role(), rest.substring(start));
    }

    private void addEmptyThought(Message answer, List<int[]> ids, int source) {
        List<String> words = template.thoughtWords();
        if (answer.content().contains(words.get(0).strip())
                || answer.content().contains(words.get(1).strip())) {
            return;
        }
        int[] empty = tokenizer.encode(words.get(0) + words.get(1));
        if (options.thinking() == Thinking.TRAINED) {
            ids.set(source + 1, concatenate(List.of(empty, ids.get(source + 1))));
        } else {
            ids.set(source, concatenate(List.of(ids.get(source), empty)));
        }
    }

    private List<int[]> encode(List<Message> messages, String system, String tools) {
        List<int[]> encoded = new ArrayList<>();
        for (int i = 0; i < messages.size(); i++) {
            List<SlotElement> elements = new ArrayList<>();
            String leading = "";
            if (i == 0) {
                elements.addAll(template.prefix());
                List<SlotElement> systemElements = systemElements(system, tools);
                if (template.systemInUser()) {
                    leading = systemElements.isEmpty() ? "" : ((SlotElement.Text) systemElements.get(0)).text();
                } else {
                    elements.addAll(systemElements);
                }
            }
            elements.addAll(messageElements(messages.get(i), leading, i / 2));
            encoded.add(ids(elements));
        }
        return encoded;
    }

    private List<SlotElement> systemElements(String system, String tools) {
        String text = system.isEmpty() ? defaultSystem : system;
        if (text.isEmpty() && tools.isEmpty()) {
            return List.of();
        }
        String toolText = tools.isEmpty() ? "" : calls.toolText(tools, options.toolDate());
        return filled(template.system(), text + toolText);
    }

    private List<SlotElement> messageElements(Message message, String leading, int turn) {
        String content = message.content();
        return switch (message.role()) {
            case USER ->
                template.systemInUser()
                        ? filled(template.user(), leading + content)
                        : withTurn(filled(template.user(), content), turn);
            case ASSISTANT -> filled(template.assistant(), content);
            case OBSERVATION -> filled(template.observation(), content);
            case FUNCTION -> filled(function, calls.callText(content));
        };
    }

    private static List<SlotElement> filled(List<SlotElement> elements, String content) {
        return with(elements, "content", content);
    }

    private static List<SlotElement> withTurn(List<SlotElement> elements, int turn) {
        return with(elements, "idx", Integer.toString(turn));
    }

    private static List<SlotElement> with(List<SlotElement> elements, String name, String value) {
        List<SlotElement> filled = new ArrayList<>();
        for (SlotElement element : elements) {
            filled.add(element instanceof SlotElement.Text text ? text.with(name, value) : element);
        }
        return filled;
    }

    private int[] ids(List<SlotElement> elements) {
        List<int[]> pieces = new ArrayList<>();
        for (SlotElement element : elements) {
            if (element instanceof SlotElement.Text text) {
                pieces.add(tokenizer.encode(text.text()));
            } else {
                OptionalInt id = element instanceof SlotElement.Bos ? special.bos() : special.eos();
                id.ifPresent(present -> pieces.add(new int[] {present}));
            }
        }
        return concatenate(pieces);
    }

    private static int[] concatenate(List<int[]> pieces) {
        int[] all = new int[pieces.stream().mapToInt(piece -> piece.length).sum()];
        int at = 0;
        for (int[] piece : pieces) {
            System.arraycopy(piece, 0, all, at, piece.length);
            at += piece.length;
        }
        return all;
    }
}
