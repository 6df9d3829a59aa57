package ulysses.driver.tokenizer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashSet;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import ulysses.runtime.data.DataException;
import ulysses.runtime.weights.Folder;

/**
 * What a trained model's folder says about text: end of text and padding as the run's template set them, and the template itself
 * where the tokenizer came without one. Otherwise who generates with the model would not stop where it was trained to. LLaMA-Factory
 * saves its tokenizer so, and transformers' Trainer the ids in config.json and generation_config.json.
 */
public final class TrainedTokenizer {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String EOS_ID = "eos_token_id";

    private final SpecialTokens special;
    private final Tokenizer tokenizer;
    private final Folder target;

    private TrainedTokenizer(ChatEncoder encoder, Folder target) {
        this.special = encoder.specialTokens();
        this.tokenizer = encoder.tokenizer();
        this.target = target;
    }

    /**
     * Changes the files in {@code target}, copies of those beside the model that training started from. Done twice it changes
     * nothing more.
     */
    public static void write(ChatEncoder encoder, Folder target) {
        TrainedTokenizer files = new TrainedTokenizer(encoder, target);
        files.edit("tokenizer_config.json", files::nameTokens);
        files.edit("special_tokens_map.json", files::nameTokens);
        files.edit("config.json", files::nameIds);
        files.edit("generation_config.json", files::addIds);
        Optional<String> chat = files.tokenizer.chatTemplate().isPresent() ? Optional.empty() : encoder.asJinja();
        chat.ifPresent(text -> target.write("chat_template.jinja", text.getBytes(StandardCharsets.UTF_8)));
    }

    private void nameTokens(ObjectNode config) {
        config.put("eos_token", special.eosToken());
        if (tokenizer.padToken().isEmpty()) {
            config.put("pad_token", special.eosToken());
        }
    }

    private void nameIds(ObjectNode config) {
        special.eos().ifPresent(eos -> config.put(EOS_ID, eos));
        special.bos().ifPresent(bos -> config.put("bos_token_id", bos));
        config.put("pad_token_id", special.pad());
    }

    /** Whatever ended a text before ends it still. */
    private void addIds(ObjectNode generation) {
        Set<Integer> ends = new LinkedHashSet<>();
        special.eos().ifPresent(ends::add);
        JsonNode before = generation.path(EOS_ID); // one, or a list
        if (before.isInt()) {
            ends.add(before.intValue());
        }
        before.forEach(id -> ends.add(id.asInt()));
        nameIds(generation);
        ArrayNode all = generation.putArray(EOS_ID);
        ends.forEach(all::add);
    }

    private void edit(String name, Consumer<ObjectNode> change) {
        if (!target.has(name)) {
            return;
        }
        try {
            ObjectNode content = (ObjectNode) JSON.readTree(target.readText(name));
            String before = content.toString();
            change.accept(content);
            if (!content.toString().equals(before)) {
                target.write(name, (content.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8));
            }
        } catch (JsonProcessingException | ClassCastException damaged) {
            throw new DataException(
                    "%s is no JSON object; restore it from the model's source".formatted(target.path(name)), damaged);
        }
    }
}
