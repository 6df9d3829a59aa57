package ulysses.driver.tokenizer;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Pattern;
import ulysses.driver.dataset.Example.Message;

/**
 * A {@link ChatTemplate} with a {@link Tokenizer} and the options that LLaMA-Factory applies to both. Every element of the template is
 * tokenized on its own, so nothing merges across their seams.
 */
final class SlotChatEncoder implements ChatEncoder {
    private static final long serialVersionUID = 2L;

    private final ChatTemplate template;
    private final Tokenizer tokenizer;
    private final Options options;
    private final FunctionText calls;
    private final List<SlotElement> function;
    private final String defaultSystem;
    private final Pattern thought;
    private final SpecialTokens special;
    private final LiteralTokens literal;

    /** Refuses a tokenizer that lacks the tokens of the template. */
    SlotChatEncoder(ChatTemplate template, Tokenizer tokenizer, Options options) {
        this.template = template;
        this.options = options;
        this.special = SpecialTokens.of(template, tokenizer);
        this.tokenizer = tokenizer.withSpecialTokens(special.cutOut());
        this.defaultSystem = options.defaultSystem() == null ? template.defaultSystem() : options.defaultSystem();
        this.thought = FunctionText.between(template.thoughtWords());
        this.function =
                options.toolFormat() == null ? template.function() : ChatTemplate.answer(template.efficientEos());
        this.literal = options.keepsLiterals() ? LiteralTokens.of(this.tokenizer.specialTokens()) : LiteralTokens.off();
        ToolFormat format =
                options.toolFormat() == null ? template.toolFormat() : ToolFormat.named(options.toolFormat());
        this.calls = FunctionText.of(format, template, literal);
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
        return template.name().equals("llama3") ? "<|end_of_text|>" : special.eosToken();
    }

    @Override
    public boolean efficientEos() {
        return template.efficientEos();
    }

    @Override
    public boolean preservesThinking() {
        return options.preservesThinking();
    }

    @Override
    public Optional<String> asJinja() {
        return Optional.of(
                SlotsAsJinja.of(template, defaultSystem, tokenizer.bosToken().orElse(""), special.eosToken()));
    }

    @Override
    public String description() {
        return template.name();
    }

    @Override
    public int[] text(String before, String text, String after) {
        return literal.encode(tokenizer, before + literal.mark(text) + after);
    }

    @Override
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

    @Override
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
        return new Turn(TokenIds.concatenate(ids.subList(0, last)), ids.get(last));
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
        for (String word : template.thoughtWords()) {
            if (answer.content().contains(word.strip())) {
                return;
            }
        }
        int[] empty = tokenizer.encode(template.emptyThought());
        if (options.thinking() == Thinking.TRAINED) {
            ids.set(source + 1, TokenIds.concatenate(List.of(empty, ids.get(source + 1))));
        } else {
            ids.set(source, TokenIds.concatenate(List.of(ids.get(source), empty)));
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
        String text = system.isEmpty() ? defaultSystem : literal.mark(system);
        if (text.isEmpty() && tools.isEmpty()) {
            return List.of();
        }
        return filled(template.system(), tools.isEmpty() ? text : text + toolText(tools));
    }

    private String toolText(String tools) {
        SlotElement.Text asTheyAre = options.toolFormat() == null ? template.tools() : null;
        return asTheyAre == null
                ? calls.toolText(tools, options.toolDate())
                : asTheyAre.with("content", literal.mark(tools)).text();
    }

    private List<SlotElement> messageElements(Message message, String leading, int turn) {
        String content = message.content();
        return switch (message.role()) {
            case USER ->
                template.systemInUser()
                        ? filled(template.user(), leading + literal.mark(content))
                        : withTurn(filled(template.user(), literal.mark(content)), turn);
            case ASSISTANT -> filled(template.assistant(), literal.mark(content));
            case OBSERVATION -> filled(template.observation(), literal.mark(content));
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
                pieces.add(literal.encode(tokenizer, text.text()));
            } else {
                id(element).ifPresent(present -> pieces.add(new int[] {present}));
            }
        }
        return TokenIds.concatenate(pieces);
    }

    private OptionalInt id(SlotElement element) {
        if (element instanceof SlotElement.Token token) {
            return OptionalInt.of(SpecialTokens.id(token.name(), template.name(), tokenizer));
        }
        return element instanceof SlotElement.Bos ? special.bos() : special.eos();
    }
}
