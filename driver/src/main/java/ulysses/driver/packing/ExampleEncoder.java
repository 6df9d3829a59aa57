package ulysses.driver.packing;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import ulysses.driver.dataset.Example;
import ulysses.driver.tokenizer.ChatEncoder;
import ulysses.driver.tokenizer.ChatEncoder.EarlierThoughts;
import ulysses.driver.tokenizer.ChatEncoder.Turn;
import ulysses.driver.tokenizer.SpecialTokens;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.driver.tokenizer.TrainedTokenizer;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.weights.Folder;

/**
 * Turns examples into token ids and labels, for stages pt, sft and dpo, as LLaMA-Factory 0.9.5 does it. Serializable; one encoder serves
 * all threads of a JVM.
 */
public final class ExampleEncoder implements Serializable {
    private static final long serialVersionUID = 1L;

    private final EncodingRules rules;
    private final ChatEncoder chat;
    private final Tokenizer tokenizer;

    /**
     * An encoder for the rules of a run.
     *
     * @throws ConfigException for an unknown template, a tokenizer that lacks its tokens, or rules that exclude each other
     */
    public ExampleEncoder(EncodingRules rules, Tokenizer tokenizer) {
        this.chat = ChatEncoder.of(
                rules.template(),
                rules.templateFile(),
                rules.splitsSpecialTokens() ? tokenizer.spellingOutSpecialTokens() : tokenizer,
                rules.chat(),
                tokenizer.hadoop());
        if (rules.trainsOnPrompt() && chat.efficientEos()) {
            throw refused(
                    "train_on_prompt does not work with template %s; set train_on_prompt: false or use another template"
                            .formatted(chat.description()));
        }
        if (rules.trainsOnPrompt() && rules.masksHistory()) {
            throw refused("train_on_prompt and mask_history exclude each other; set one of them to false");
        }
        this.rules = rules;
        this.tokenizer = chat.tokenizer();
    }

    private static ConfigException refused(String problem) {
        return new ConfigException("the data settings", List.of(problem));
    }

    /** An encoder for a run. */
    public static ExampleEncoder of(TrainingConfig config, Tokenizer tokenizer) {
        return new ExampleEncoder(EncodingRules.of(config), tokenizer);
    }

    /** Writes what the template changed into the folder of the trained model. */
    public void writeTokenizer(Folder output) {
        TrainedTokenizer.write(chat, output);
    }

    /** Begin, end and padding after the template changed them. */
    public SpecialTokens specialTokens() {
        return chat.specialTokens();
    }

    /** Fills rows up: the tokenizer's padding, or the end token after the template changed it. */
    public int padId() {
        return specialTokens().pad();
    }

    /** The end token after the template changed it. */
    public int eosId() {
        return specialTokens().eos().orElseThrow();
    }

    /**
     * Token ids and labels of one example.
     *
     * @throws ulysses.runtime.data.DataException for tools or calls that are not valid JSON; the caller knows which row it is
     */
    public Encoded encode(Example example) {
        if (example instanceof Example.Unusable unusable) {
            return new Encoded.Dropped(unusable.reason());
        }
        return switch (rules.stage()) {
            case PT -> encodeText(example);
            case SFT ->
                example instanceof Example.Conversation conversation
                        ? encodeConversation(conversation)
                        : new Encoded.Dropped("no answer");
            case DPO -> encodePair(example);
        };
    }

    /**
     * Token ids and labels of a prompt with two answers, for preference training: the answers are trained, the prompt of both is that
     * of the chosen side, and what is cut is cut alike.
     *
     * @throws ulysses.runtime.data.DataException as {@link #encode}
     */
    public Encoded encodePair(Example example) {
        if (example instanceof Example.Unusable unusable) {
            return new Encoded.Dropped(unusable.reason());
        }
        if (!(example instanceof Example.Preference preference)) {
            return new Encoded.Dropped("no pair of answers");
        }
        Turn chosen = chat.oneTurn(with(preference, preference.chosen()), preference.system(), preference.tools());
        Turn rejected = chat.oneTurn(with(preference, preference.rejected()), preference.system(), preference.tools());
        int[] end = chat.efficientEos() ? new int[] {eosId()} : new int[0];
        int longer = Math.max(chosen.target().length, rejected.target().length) + end.length;
        TurnLengths lengths = TurnLengths.of(chosen.source().length, longer, rules.cutoffLength());
        return new EncodedPair(
                side(chosen.source(), chosen.target(), end, lengths),
                side(chosen.source(), rejected.target(), end, lengths));
    }

    private static List<Example.Message> with(Example.Preference preference, Example.Message answer) {
        List<Example.Message> messages = new ArrayList<>(preference.prompt());
        messages.add(answer);
        return messages;
    }

    private static EncodedExample side(int[] prompt, int[] answer, int[] end, TurnLengths lengths) {
        int target = Math.min(answer.length + end.length, lengths.target());
        int[] ids = Arrays.copyOf(prompt, lengths.source() + target);
        int[] ended = Arrays.copyOf(answer, answer.length + end.length);
        System.arraycopy(end, 0, ended, answer.length, end.length);
        System.arraycopy(ended, 0, ids, lengths.source(), target);
        int[] labels = ids.clone();
        Arrays.fill(labels, 0, lengths.source(), PackedRow.IGNORE_INDEX);
        int original = prompt.length + ended.length;
        return new EncodedExample(ids, labels, ids.length < original, original);
    }

    /** The text is encoded with its end as one string. A label that equals the padding does not count, as the collator has it. */
    private Encoded encodeText(Example example) {
        String text = example instanceof Example.PlainText plain ? plain.text() : firstMessage(example);
        String begin =
                rules.cutsTexts() && tokenizer.addsBos() ? tokenizer.bosToken().orElse("") : "";
        int[] all = chat.text(begin, text, chat.textEnd());
        int[] ids =
                rules.cutsTexts() && all.length > rules.cutoffLength() ? Arrays.copyOf(all, rules.cutoffLength()) : all;
        int[] labels = ids.clone();
        for (int t = 0; t < labels.length; t++) {
            if (labels[t] == padId()) {
                labels[t] = PackedRow.IGNORE_INDEX;
            }
        }
        return new EncodedExample(ids, labels, ids.length < all.length, all.length);
    }

    private static String firstMessage(Example example) {
        List<Example.Message> messages = example instanceof Example.Preference preference
                ? preference.prompt()
                : ((Example.Conversation) example).messages();
        return messages.get(0).content();
    }

    /** Turn by turn with what is left of cutoff_len; from the last turn backwards with mask_history. */
    private Encoded encodeConversation(Example.Conversation conversation) {
        EarlierThoughts earlier =
                rules.masksHistory() && !chat.preservesThinking() ? EarlierThoughts.REMOVED : EarlierThoughts.KEPT;
        List<Turn> turns = new ArrayList<>(
                chat.turns(conversation.messages(), conversation.system(), conversation.tools(), earlier));
        int end = chat.efficientEos() ? 1 : 0;
        int original = end;
        for (Turn turn : turns) {
            original += turn.source().length + turn.target().length;
        }
        if (rules.masksHistory()) {
            Collections.reverse(turns);
        }
        TurnBuffer buffer = new TurnBuffer();
        int total = end;
        for (int i = 0; i < turns.size() && total < rules.cutoffLength(); i++) {
            Turn turn = turns.get(i);
            TurnLengths lengths =
                    TurnLengths.of(turn.source().length, turn.target().length, rules.cutoffLength() - total);
            total += lengths.source() + lengths.target();
            buffer.add(labelled(turn, lengths, i));
        }
        if (rules.masksHistory()) {
            buffer.reverse();
        }
        return buffer.join(chat.efficientEos() ? new int[] {eosId()} : new int[0], original);
    }

    private TurnBuffer.Piece labelled(Turn turn, TurnLengths lengths, int order) {
        int[] ids = new int[lengths.source() + lengths.target()];
        System.arraycopy(turn.source(), 0, ids, 0, lengths.source());
        System.arraycopy(turn.target(), 0, ids, lengths.source(), lengths.target());
        int[] labels = ids.clone();
        if (!rules.trainsOnPrompt()) {
            Arrays.fill(labels, 0, lengths.source(), PackedRow.IGNORE_INDEX);
            if (chat.efficientEos() && order > 0 && lengths.source() > 0) {
                labels[0] = eosId();
            }
        }
        if (rules.masksHistory() && order > 0) {
            Arrays.fill(labels, lengths.source(), labels.length, PackedRow.IGNORE_INDEX);
        }
        return new TurnBuffer.Piece(ids, labels);
    }
}
