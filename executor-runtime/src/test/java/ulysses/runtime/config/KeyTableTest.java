package ulysses.runtime.config;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** keys.yaml against keys.json, which was read from LLaMA-Factory 0.9.5 itself. */
class KeyTableTest {
    private static final Set<ConfigKey.Type> WORDS =
            Set.of(ConfigKey.Type.TEXT, ConfigKey.Type.LIST, ConfigKey.Type.MAPPING, ConfigKey.Type.CHOICE);

    /** Fractions of a run are refused for these, so they are whole numbers here. */
    private static final Set<String> STEPS = Set.of("logging_steps", "save_steps", "eval_steps");

    @Test
    void everyKeyOfLlamaFactoryHasAnAnswer() throws IOException {
        List<String> missing = llamaFactory()
                .map(key -> key.get("name").asText())
                .filter(name -> KeyTable.table().find(name).isEmpty())
                .toList();

        assertThat(missing).isEmpty();
        assertThat(llamaFactory()).hasSize(346);
    }

    @Test
    void defaultsAndTypesAreThoseOfLlamaFactory() throws IOException {
        List<String> differences = new ArrayList<>();
        llamaFactory().forEach(theirs -> {
            ConfigKey ours = KeyTable.table().get(theirs.get("name").asText());
            if (!sameDefault(ours, theirs.get("default"))) {
                differences.add(ours.name() + " default " + ours.fallback() + " but " + theirs.get("default"));
            }
            if (!sameType(ours, theirs.get("type").asText())) {
                differences.add(ours.name() + " type " + ours.type() + " but " + theirs.get("type"));
            }
            if (ours.nullable() != theirs.get("default").isNull()
                    && !theirs.get("type").asText().contains("null")) {
                differences.add(ours.name() + " nullable " + ours.nullable());
            }
        });

        assertThat(differences).isEmpty();
    }

    @Test
    void choicesAreThoseOfLlamaFactory() throws IOException {
        Map<String, Set<String>> wrong = new TreeMap<>();
        llamaFactory().filter(key -> key.has("choices")).forEach(theirs -> {
            ConfigKey ours = KeyTable.table().get(theirs.get("name").asText());
            Set<String> expected = new TreeSet<>();
            theirs.get("choices").forEach(choice -> expected.add(choice.asText()));
            Set<String> known = new TreeSet<>(ours.choices());
            known.addAll(ours.refusedChoices());
            if (ours.type() == ConfigKey.Type.CHOICE && !known.equals(expected)) {
                wrong.put(ours.name(), known);
            }
        });

        assertThat(wrong).isEmpty();
    }

    @Test
    void everyIgnoredOrRefusedKeySaysWhy() {
        List<String> silent = keys().filter(key -> key.answer() != ConfigKey.Answer.SUPPORTED
                        || !key.refusedChoices().isEmpty())
                .filter(key -> key.why() == null || key.why().isBlank())
                .map(ConfigKey::name)
                .toList();

        assertThat(silent).isEmpty();
    }

    @Test
    void everySentenceEndsWithAFullStopAndEveryReasonWithout() {
        assertThat(keys()).allSatisfy(key -> {
            assertThat(key.says()).as(key.name()).endsWith(".").doesNotContain("|");
            assertThat(String.valueOf(key.why()))
                    .as(key.name())
                    .doesNotEndWith(".")
                    .doesNotContain("|");
        });
    }

    @Test
    void everySupportedKeyIsReadAndEveryKeyReadIsSupported(@TempDir Path folder) {
        String file = ConfigFileTest.write(folder, ConfigFileTest.SMALLEST + "lr_scheduler_kwargs: {}\n");
        ConfigFile.Sources sources = ConfigFile.Sources.ofFile(file);
        ConfigReading reading = ConfigReading.of(sources, new Configuration(false));
        new ConfigSections(
                        reading.settings(), sources, new ArrayList<>(), new WorkingDirectory(new Configuration(false)))
                .config();

        Set<String> read = new TreeSet<>(reading.settings().keysRead());
        ConfigReading export = ConfigReading.of(
                ConfigFile.Sources.ofFile(ConfigFileTest.write(folder, "model_name_or_path: m\nexport_dir: e\n")),
                new Configuration(false));
        ExportConfig.of(export.settings(), new WorkingDirectory(new Configuration(false)));
        read.addAll(export.settings().keysRead());

        assertThat(read)
                .isEqualTo(new TreeSet<>(keys().filter(key -> key.answer() == ConfigKey.Answer.SUPPORTED)
                        .map(ConfigKey::name)
                        .toList()));
    }

    @Test
    void nearestKeyIsTheOneWithFewestChanges() {
        assertThat(KeyTable.table().nearest("lerning_rate")).contains("learning_rate");
        assertThat(KeyTable.table().nearest("cutof_len")).contains("cutoff_len");
        assertThat(KeyTable.table().nearest("something_else_entirely")).isEmpty();
        assertThat(KeyTable.editDistance("kitten", "sitting")).isEqualTo(3);
    }

    private static Stream<ConfigKey> keys() {
        return KeyTable.table().groups().values().stream().flatMap(List::stream);
    }

    private static boolean sameDefault(ConfigKey ours, JsonNode theirs) {
        if (theirs.isNull() || ours.fallback() == null) {
            return theirs.isNull() && ours.fallback() == null;
        }
        if (theirs.isNumber()) {
            return Double.parseDouble(ours.fallback()) == theirs.asDouble();
        }
        return theirs.isArray() ? ours.fallback().isEmpty() : ours.fallback().equals(theirs.asText());
    }

    private static boolean sameType(ConfigKey ours, String theirs) {
        String word = theirs.split(" ", -1)[0];
        return switch (word) {
            case "bool" -> ours.type() == ConfigKey.Type.BOOLEAN;
            case "int" -> ours.type() == ConfigKey.Type.INTEGER;
            case "float" ->
                ours.type() == (STEPS.contains(ours.name()) ? ConfigKey.Type.INTEGER : ConfigKey.Type.NUMBER);
            default -> WORDS.contains(ours.type());
        };
    }

    static Stream<JsonNode> llamaFactory() throws IOException {
        try (InputStream json = Objects.requireNonNull(KeyTableTest.class.getResourceAsStream("keys.json"))) {
            List<JsonNode> keys = new ArrayList<>();
            new ObjectMapper().readTree(json).get("groups").forEach(group -> group.forEach(keys::add));
            return keys.stream();
        }
    }
}
