package ulysses.driver.tokenizer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.Path;
import org.jspecify.annotations.Nullable;
import ulysses.driver.dataset.PythonJson;
import ulysses.runtime.data.DataException;

/** The files of a tokenizer folder: read, fingerprinted, and tokenizer.json changed the way transformers changes it in memory. */
final class TokenizerFiles {

    /** The library ends the process at 128 levels; real files have about ten. */
    private static final int DEEPEST = 64;

    private static final int MOST_PARTS = 64; // real files have up to a dozen
    private static final int MOST_BYTE_LEVELS = 3; // real files have one

    /** Files reach 20 MB and some vocabularies hold very long entries; Jackson's limits are for hostile input. */
    private static final ObjectMapper JSON = new ObjectMapper(JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxStringLength(Integer.MAX_VALUE)
                    .maxNestingDepth(DEEPEST)
                    .build())
            .build());

    private TokenizerFiles() {}

    /** tokenizer.json as it is on disk. */
    static byte[] tokenizerJson(String folder, Configuration hadoop) {
        return read(folder, "tokenizer.json", hadoop)
                .orElseThrow(
                        () -> new DataException(("%s holds no tokenizer.json; save the tokenizer with transformers' "
                                        + "save_pretrained (fast tokenizer) and point model_name_or_path there")
                                .formatted(folder)));
    }

    /** A small JSON file of the folder; empty when it is not there. */
    static JsonNode json(String folder, String name, Configuration hadoop) {
        return read(folder, name, hadoop)
                .map(bytes -> parse(bytes, folder + "/" + name))
                .orElseGet(JSON::createObjectNode);
    }

    /** The chat template of a folder, as transformers finds it: the file comes first, of several the one named default. */
    static @Nullable String chatTemplate(String folder, JsonNode config, Configuration hadoop) {
        Optional<byte[]> file = read(folder, "chat_template.jinja", hadoop);
        if (file.isPresent()) {
            return new String(file.get(), StandardCharsets.UTF_8);
        }
        JsonNode template = config.path("chat_template");
        for (JsonNode named : template.isArray() ? template : JSON.createArrayNode()) {
            if (named.path("name").asText().equals("default")) {
                return named.path("template").textValue();
            }
        }
        return template.textValue();
    }

    private static Optional<byte[]> read(String folder, String name, Configuration hadoop) {
        Path path = new Path(folder, name);
        try (FSDataInputStream stream = path.getFileSystem(hadoop).open(path)) {
            return Optional.of(stream.readAllBytes());
        } catch (FileNotFoundException missing) {
            return Optional.empty();
        } catch (IOException failure) {
            throw new DataException("%s can't be read: %s".formatted(path, failure.getMessage()), failure);
        }
    }

    /** The JSON object of a file; a damaged file is named. */
    static JsonNode parse(byte[] bytes, String name) {
        try {
            JsonNode root = JSON.readTree(bytes);
            if (!root.isObject()) {
                throw new DataException("%s is not a JSON object; copy it again from the model".formatted(name));
            }
            return root;
        } catch (JsonProcessingException damaged) {
            throw new DataException(
                    "%s is not valid JSON: %s at line %d; copy it again from the model"
                            .formatted(name, damaged.getOriginalMessage(), PythonJson.line(damaged)),
                    damaged);
        } catch (IOException noUnicode) { // the bytes are in memory
            throw new DataException(
                    "%s is not UTF-8: %s; copy it again from the model".formatted(name, noUnicode.getMessage()),
                    noUnicode);
        }
    }

    /** Each ByteLevel doubles what is not ASCII, so a row of them never comes to an end; other parts multiply texts, too. */
    static void refuseGrowth(JsonNode tokenizer, String name) {
        List<String> parts = new ArrayList<>();
        collectTypes(tokenizer.path("normalizer"), parts);
        collectTypes(tokenizer.path("pre_tokenizer"), parts);
        long byteLevels = parts.stream().filter("ByteLevel"::equals).count();
        if (parts.size() > MOST_PARTS || byteLevels > MOST_BYTE_LEVELS) {
            throw new DataException(
                    "%s normalizes and splits in %d steps, %d of them ByteLevel; at most %d and %d are possible, copy it again from the model"
                            .formatted(name, parts.size(), byteLevels, MOST_PARTS, MOST_BYTE_LEVELS));
        }
    }

    /**
     * The library takes as many bytes off the second part of each merge as {@code continuing_subword_prefix} has characters, and ends
     * the process where that part is shorter, or where they end inside a character.
     */
    static void refuseTornMerges(JsonNode tokenizer, String name) {
        JsonNode model = tokenizer.path("model");
        String prefix = model.path("continuing_subword_prefix").asText("");
        int cut = prefix.codePointCount(0, prefix.length());
        if (!model.path("type").asText("BPE").equals("BPE") || cut == 0) {
            return;
        }
        for (JsonNode merge : model.path("merges")) {
            String second = merge.isArray() ? merge.path(1).asText() : afterBlank(merge.asText());
            byte[] bytes = second.getBytes(StandardCharsets.UTF_8);
            boolean insideCharacter = cut < bytes.length && (bytes[cut] & 0xC0) == 0x80;
            if (cut > bytes.length || insideCharacter) {
                throw new DataException(
                        "%s merges into \"%s\", which does not begin with its continuing_subword_prefix \"%s\"; copy it again from the model"
                                .formatted(name, second, prefix));
            }
        }
    }

    private static String afterBlank(String merge) {
        return merge.substring(merge.indexOf(' ') + 1);
    }

    private static void collectTypes(JsonNode part, List<String> types) {
        if (part.path("type").isTextual()) {
            types.add(part.path("type").textValue());
        }
        part.forEach(inner -> collectTypes(inner, types));
    }

    /** SHA-256 in hex. */
    static String fingerprint(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible); // every Java platform has SHA-256
        }
    }

    /** Token to id, added tokens included. */
    static Map<String, Integer> vocabulary(JsonNode tokenizer) {
        Map<String, Integer> ids = new HashMap<>();
        JsonNode model = tokenizer.path("model").path("vocab");
        if (model.isArray()) { // Unigram: [token, score]
            for (int id = 0; id < model.size(); id++) {
                ids.put(model.get(id).path(0).asText(), id);
            }
        } else {
            model.properties()
                    .forEach(entry -> ids.put(entry.getKey(), entry.getValue().asInt()));
        }
        for (JsonNode added : tokenizer.path("added_tokens")) {
            ids.put(added.path("content").asText(), added.path("id").asInt());
        }
        return ids;
    }

    /** Tokens that the file itself calls special. */
    static Set<String> special(JsonNode tokenizer) {
        Set<String> special = new HashSet<>();
        for (JsonNode added : tokenizer.path("added_tokens")) {
            if (added.path("special").asBoolean()) {
                special.add(added.path("content").asText());
            }
        }
        return special;
    }

    /** Makes tokens special, as {@code add_special_tokens} of transformers does: cut out of a text before anything else. */
    static void markSpecial(JsonNode tokenizer, Set<String> tokens, Map<String, Integer> vocabulary) {
        ArrayNode added = ((ObjectNode) tokenizer).withArray("added_tokens");
        for (String token : tokens) {
            ObjectNode entry = find(added, token).orElseGet(() -> {
                ObjectNode created = added.addObject();
                created.put("id", vocabulary.get(token)).put("content", token);
                created.put("single_word", false).put("lstrip", false).put("rstrip", false);
                return created.put("normalized", false);
            });
            entry.put("special", true);
        }
    }

    private static Optional<ObjectNode> find(ArrayNode added, String token) {
        for (JsonNode entry : added) {
            if (entry.path("content").asText().equals(token)) {
                return Optional.of((ObjectNode) entry);
            }
        }
        return Optional.empty();
    }

    /**
     * Makes special tokens ordinary text, as {@code split_special_tokens} of transformers does. Added tokens that are not special
     * stay whole. A token that only the added list knows keeps its place and id under a name no text holds, because the library
     * numbers added tokens by position.
     */
    static void spellOutSpecial(JsonNode tokenizer, Set<String> modelVocabulary) {
        Iterator<JsonNode> added =
                ((ObjectNode) tokenizer).withArray("added_tokens").iterator();
        while (added.hasNext()) {
            ObjectNode entry = (ObjectNode) added.next();
            if (!entry.path("special").asBoolean()) {
                continue;
            }
            if (modelVocabulary.contains(entry.path("content").asText())) {
                added.remove();
            } else {
                entry.put("content", "\uFFFFspecial-" + entry.path("id").asInt() + "\uFFFF");
                entry.put("normalized", false);
            }
        }
    }

    /** Tokens of the model itself, without the added ones. */
    static Set<String> modelVocabulary(JsonNode tokenizer) {
        Map<String, Integer> ids = new HashMap<>();
        JsonNode model = tokenizer.path("model").path("vocab");
        model.properties()
                .forEach(entry -> ids.put(entry.getKey(), entry.getValue().asInt()));
        if (model.isArray()) {
            model.forEach(entry -> ids.put(entry.path(0).asText(), 0));
        }
        return ids.keySet();
    }

    /** The changed file as text. */
    static String text(JsonNode tokenizer) {
        return tokenizer.toString();
    }
}
