package ulysses.runtime.config;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLParser;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * A YAML or JSON file as a list of settings, every scalar as the text that was typed. Keys given twice, several documents and
 * aliases are refused, since each would silently change what the file says.
 */
final class ConfigDocument {
    private static final YAMLFactory YAML = new YAMLFactory();
    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(JsonReadFeature.ALLOW_JAVA_COMMENTS)
            .enable(JsonReadFeature.ALLOW_YAML_COMMENTS)
            .enable(JsonReadFeature.ALLOW_TRAILING_COMMA)
            .build();

    private final String name;
    private final List<String> problems = new ArrayList<>();

    private ConfigDocument(String name) {
        this.name = name;
    }

    /**
     * Reads a whole file.
     *
     * @param path decides the format: {@code .json} is JSON, where comments are allowed, anything else YAML
     * @throws ConfigException if it isn't a mapping, is malformed, or holds a key twice
     */
    static List<Setting> read(String path, String text) {
        boolean json = path.toLowerCase(Locale.ROOT).endsWith(".json");
        return read(path, text, json ? JSON : YAML);
    }

    /** Reads a JSON file, comments allowed, whatever its name. */
    static List<Setting> readJson(String path, String text) {
        return read(path, text, JSON);
    }

    private static List<Setting> read(String path, String text, JsonFactory format) {
        ConfigDocument document = new ConfigDocument(path.substring(path.lastIndexOf('/') + 1));
        List<Setting> settings = new ArrayList<>();
        try (JsonParser parser = format.createParser(text)) {
            document.readMapping(parser, settings);
        } catch (JsonProcessingException malformed) {
            document.problems.add(document.malformed(malformed));
        } catch (IOException impossible) {
            throw new UncheckedIOException("reading from memory failed", impossible);
        }
        if (!document.problems.isEmpty()) {
            throw new ConfigException(path, document.problems);
        }
        return settings;
    }

    /**
     * Reads one value in YAML's flow style, as a command line holds it: {@code {min_lr_rate: 0.1}} or {@code [a, b]}.
     *
     * @throws ConfigException if it is malformed
     */
    static JsonNode value(String name, String text) {
        return read(name, "value: " + text).get(0).value();
    }

    private void readMapping(JsonParser parser, List<Setting> settings) throws IOException {
        JsonToken first = parser.nextToken();
        if (first == null) {
            problems.add(name + " is empty; write one \"key: value\" a line");
            return;
        }
        if (first != JsonToken.START_OBJECT) {
            problems.add(name + " holds no mapping at its top; write one \"key: value\" a line");
            return;
        }
        Map<String, Integer> lines = new HashMap<>();
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String key = parser.currentName();
            int line = parser.currentTokenLocation().getLineNr();
            Integer before = lines.putIfAbsent(key, line);
            parser.nextToken();
            JsonNode value = readValue(parser, key);
            if (before == null) {
                settings.add(new Setting(key, value, name + ", line " + line));
            } else {
                problems.add("%s is given twice, in lines %d and %d; keep one (%s)".formatted(key, before, line, name));
            }
        }
        if (parser.nextToken() != null) {
            problems.add(name + " holds more than one document; remove what follows the first");
        }
    }

    private JsonNode readValue(JsonParser parser, String key) throws IOException {
        JsonToken token = parser.currentToken();
        if (parser instanceof YAMLParser yaml && yaml.isCurrentAlias()) {
            problems.add("%s is an alias, *%s; write the value itself (%s, line %d)"
                    .formatted(
                            key,
                            parser.getText(),
                            name,
                            parser.currentTokenLocation().getLineNr()));
            return NullNode.getInstance();
        }
        if (token == JsonToken.START_ARRAY) {
            return readList(parser, key);
        }
        if (token == JsonToken.START_OBJECT) {
            return readObject(parser);
        }
        return token == JsonToken.VALUE_NULL ? NullNode.getInstance() : TextNode.valueOf(parser.getText());
    }

    private ArrayNode readList(JsonParser parser, String key) throws IOException {
        ArrayNode list = JsonNodeFactory.instance.arrayNode();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
            list.add(readValue(parser, key));
        }
        return list;
    }

    private ObjectNode readObject(JsonParser parser) throws IOException {
        ObjectNode object = JsonNodeFactory.instance.objectNode();
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String key = parser.currentName();
            int line = parser.currentTokenLocation().getLineNr();
            parser.nextToken();
            if (object.putIfAbsent(key, readValue(parser, key)) != null) {
                problems.add("%s is given twice; keep one (%s, line %d)".formatted(key, name, line));
            }
        }
        return object;
    }

    /** The lines of the parser's message that say something; those that quote the file are indented. */
    private String malformed(JsonProcessingException exception) {
        String reason = exception
                .getOriginalMessage()
                .lines()
                .filter(line -> !line.isBlank() && !line.startsWith(" "))
                .map(line -> line.replaceFirst(" \\(start marker.*", ""))
                .collect(Collectors.joining(": "));
        String where = exception.getLocation() == null
                ? ""
                : ", line " + exception.getLocation().getLineNr();
        return "%s%s is malformed: %s; correct that line or the one before it".formatted(name, where, reason);
    }
}
