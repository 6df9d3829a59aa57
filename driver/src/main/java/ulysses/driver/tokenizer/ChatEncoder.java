package ulysses.driver.tokenizer;

import java.io.Serializable;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import ulysses.driver.dataset.Example.Message;
import ulysses.runtime.config.ConfigException;

/** Messages to token ids, turn by turn. Serializable; one encoder serves all threads of a JVM. */
public interface ChatEncoder extends Serializable {

    /**
     * Options of a run that change a template.
     *
     * @param defaultSystem {@code default_system}; null keeps the template's
     * @param toolFormat {@code tool_format}; null keeps the template's
     * @param thinking {@code enable_thinking}
     * @param preservesThinking {@code preserve_thinking}
     * @param toolDate the date that a prompt shows as today
     * @param keepsLiterals {@code literal_special_tokens}: special tokens written in data are ordinary text
     */
    record Options(
            @Nullable String defaultSystem,
            @Nullable String toolFormat,
            Thinking thinking,
            boolean preservesThinking,
            String toolDate,
            boolean keepsLiterals)
            implements Serializable {
        /** Those of a run that sets none. */
        public static final Options DEFAULT = new Options(null, null, Thinking.TRAINED, false, "01 Jan 2026", false);
    }

    /**
     * A question and its answer.
     *
     * @param source ids of the question with all that stands before the answer
     * @param target ids of the answer
     */
    @SuppressWarnings("ArrayRecordComponent") // never compared; handed on at once
    record Turn(int[] source, int[] target) {}

    /** The name that stands for the tokenizer's own chat template, run on every conversation. */
    String JINJA = "jinja";

    /** What happens to thoughts before the last answer, where a template knows thoughts. */
    enum EarlierThoughts {
        KEPT,
        REMOVED
    }

    /**
     * The encoder for {@code template}.
     *
     * @param name a name of templates.yaml or of {@code template_file}; {@code jinja} runs the tokenizer's own chat template on every
     *     conversation; null takes the tokenizer's chat template apart as LLaMA-Factory does, runs it where that is not possible, and
     *     is {@code empty} where the tokenizer has none
     * @param file {@code template_file}; null means none
     * @throws ulysses.runtime.config.ConfigException for an unknown name, or a tokenizer without the tokens of the template
     */
    static ChatEncoder of(
            @Nullable String name, @Nullable String file, Tokenizer tokenizer, Options options, Configuration hadoop) {
        if (name != null && !name.equals(JINJA)) {
            return new SlotChatEncoder(ChatTemplates.of(file, hadoop).named(name), tokenizer, options);
        }
        Optional<TokenizerChat> own = TokenizerChat.of(tokenizer, options);
        if (name == null) {
            Optional<ChatTemplate> parsed = own.flatMap(TokenizerChat::parsed);
            if (parsed.isPresent() || own.isEmpty()) {
                ChatTemplate slots =
                        parsed.orElseGet(() -> ChatTemplates.of(null, hadoop).named("empty"));
                return new SlotChatEncoder(slots, tokenizer, options);
            }
        }
        return new JinjaChatEncoder(
                own.orElseThrow(() -> new ConfigException(
                        "the data settings",
                        List.of("template jinja needs a chat template, which the tokenizer in %s lacks; name a template"
                                .formatted(tokenizer.folder())))),
                tokenizer,
                options);
    }

    /**
     * All turns of a conversation.
     *
     * @param messages pairs of question and answer
     * @param system the system text; empty means the default
     * @param tools the tools as JSON; empty means none
     * @param earlierThoughts whether the thoughts before the last answer stay
     */
    List<Turn> turns(List<Message> messages, String system, String tools, EarlierThoughts earlierThoughts);

    /** A whole conversation as one prompt and its last answer, for preference pairs. */
    Turn oneTurn(List<Message> messages, String system, String tools);

    /** Ids of a text for pretraining between what the run puts round it, encoded as one string. */
    int[] text(String before, String text, String after);

    /** The tokenizer as the template leaves it. */
    Tokenizer tokenizer();

    /** Begin, end and padding as the template leaves them. */
    SpecialTokens specialTokens();

    /** Ends a text for pretraining. */
    String textEnd();

    /** Whether one end token stands behind the last answer instead of one behind each. */
    boolean efficientEos();

    /** Whether thoughts in earlier answers stay although they are not trained. */
    boolean preservesThinking();

    /** The template in Jinja, for a tokenizer that came without one; empty where there is nothing to say. */
    Optional<String> asJinja();

    /** Where the template comes from, for the report. */
    String description();
}
