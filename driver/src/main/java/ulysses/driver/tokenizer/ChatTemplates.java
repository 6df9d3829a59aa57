package ulysses.driver.tokenizer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.jspecify.annotations.Nullable;
import ulysses.driver.dataset.NearestName;
import ulysses.driver.dataset.PythonJson;
import ulysses.runtime.config.ConfigException;

/** Templates by name: those of templates.yaml, and those of a file of the user's own, which come first. */
public final class ChatTemplates {
    private static final ChatTemplates BUILT_IN = builtIn();

    private final Map<String, JsonNode> entries;

    private ChatTemplates(Map<String, JsonNode> entries) {
        this.entries = entries;
    }

    private static ChatTemplates builtIn() {
        try (InputStream yaml = Objects.requireNonNull(ChatTemplates.class.getResourceAsStream("templates.yaml"))) {
            return new ChatTemplates(merged(Map.of(), new YAMLMapper().readTree(yaml)));
        } catch (IOException damaged) {
            throw new UncheckedIOException("templates.yaml can't be read", damaged);
        }
    }

    /**
     * The templates of a run.
     *
     * @param file {@code template_file}: YAML in the form of templates.yaml; null means none
     * @throws ConfigException for a file that can't be read or holds something else
     */
    public static ChatTemplates of(@Nullable String file, Configuration hadoop) {
        if (file == null) {
            return BUILT_IN;
        }
        Path path = new Path(file);
        try (InputStream yaml = path.getFileSystem(hadoop).open(path)) {
            ChatTemplates all = new ChatTemplates(merged(BUILT_IN.entries, new YAMLMapper().readTree(yaml)));
            all.entries.keySet().forEach(all::named);
            return all;
        } catch (JsonProcessingException damaged) {
            throw refused("template_file %s is no YAML: %s at line %d"
                    .formatted(file, damaged.getOriginalMessage(), PythonJson.line(damaged)));
        } catch (FileNotFoundException missing) {
            throw refused("template_file %s is not there; check the path".formatted(file));
        } catch (IOException failure) {
            throw refused("template_file %s can't be read: %s".formatted(file, failure.getMessage()));
        } catch (IllegalArgumentException problem) {
            throw refused("template_file %s: %s".formatted(file, problem.getMessage()));
        }
    }

    /** Entries with what they take from others filled in. */
    private static Map<String, JsonNode> merged(Map<String, JsonNode> earlier, JsonNode file) {
        if (!file.isObject()) {
            throw new IllegalArgumentException("it is no mapping of names to templates");
        }
        Map<String, JsonNode> all = new LinkedHashMap<>(earlier);
        for (Map.Entry<String, JsonNode> entry : file.properties()) {
            if (!entry.getValue().isObject()) {
                throw new IllegalArgumentException(
                        "template %s is no mapping; write its keys below it".formatted(entry.getKey()));
            }
            ObjectNode own = entry.getValue().deepCopy();
            JsonNode like = own.remove("like");
            if (like != null) {
                JsonNode other = all.get(like.asText());
                if (other == null) {
                    throw new IllegalArgumentException("template %s is like %s, which is not known; did you mean %s?"
                            .formatted(entry.getKey(), like.asText(), NearestName.of(like.asText(), all.keySet())));
                }
                own = other.<ObjectNode>deepCopy().setAll(own);
            }
            all.put(entry.getKey(), own);
        }
        return all;
    }

    /** All names: those of templates.yaml, then the user's. */
    public Set<String> names() {
        return entries.keySet();
    }

    /**
     * The template of a name.
     *
     * @throws ConfigException for an unknown name, with the nearest known one, and for an entry that is damaged
     */
    public ChatTemplate named(String name) {
        JsonNode entry = entries.get(name);
        if (entry == null) {
            throw refused("template %s is not known; did you mean %s? Known are %s"
                    .formatted(name, NearestName.of(name, names()), String.join(", ", names())));
        }
        try {
            return ChatTemplate.of(name, entry);
        } catch (IllegalArgumentException damaged) {
            throw refused("template %s: %s".formatted(name, damaged.getMessage()));
        }
    }

    private static ConfigException refused(String problem) {
        return new ConfigException("the data settings", List.of(problem));
    }
}
