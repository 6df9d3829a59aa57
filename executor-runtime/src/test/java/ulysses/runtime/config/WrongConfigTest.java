package ulysses.runtime.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The cases of wrong-configs.txt, each with its exact problems. A case is a YAML; lines {@code => ...} are the problems. Keys that
 * every run needs are put in front unless the case gives them or takes them away ({@code - key}); {@code ds.json} is the DeepSpeed
 * file of the case.
 */
class WrongConfigTest {
    private static final List<String> NEEDED =
            List.of("model_name_or_path: model", "finetuning_type: full", "dataset: identity", "output_dir: out");

    @ParameterizedTest(name = "{0}")
    @MethodSource("cases")
    void saysExactlyWhatIsWrong(WrongConfig wrong, @TempDir Path folder) throws IOException {
        Path json = folder.resolve("ds.json");
        Files.writeString(json, wrong.deepSpeed());
        String yaml = wrong.yaml() + (wrong.deepSpeed().isEmpty() ? "" : "deepspeed: " + json + "\n");
        String file = ConfigFileTest.write(folder, yaml);

        ConfigException exception = assertThrows(
                ConfigException.class,
                () -> ConfigFile.load(ConfigFile.Sources.ofFile(file), new Configuration(false)));

        assertThat(exception.problems()).isEqualTo(wrong.problems());
    }

    @Test
    void tableHoldsAtLeastSixtyCases() throws IOException {
        assertThat(cases()).hasSizeGreaterThanOrEqualTo(60);
    }

    record WrongConfig(String yaml, String deepSpeed, List<String> problems) {
        @Override
        public String toString() {
            return problems.isEmpty() ? yaml : problems.get(0);
        }
    }

    static Stream<WrongConfig> cases() throws IOException {
        try (InputStream text =
                Objects.requireNonNull(WrongConfigTest.class.getResourceAsStream("wrong-configs.txt"))) {
            String all = new String(text.readAllBytes(), StandardCharsets.UTF_8);
            return Arrays.stream(all.split("\n\n", -1))
                    .filter(block -> !block.isBlank())
                    .map(WrongConfigTest::wrong);
        }
    }

    private static WrongConfig wrong(String block) {
        List<String> lines = new ArrayList<>();
        List<String> deepSpeed = new ArrayList<>();
        List<String> problems = new ArrayList<>();
        List<String> needed = new ArrayList<>(NEEDED);
        for (String line : block.lines().filter(line -> !line.startsWith("#")).toList()) {
            if (line.startsWith("=> ")) {
                problems.add(line.substring(3)
                        .replace("{cwd}", Path.of("").toAbsolutePath().toString()));
            } else if (line.startsWith("ds.json ")) {
                deepSpeed.add(line.substring(8));
            } else if (line.startsWith("- ")) {
                needed.removeIf(key -> key.startsWith(line.substring(2) + ":"));
            } else {
                needed.removeIf(key -> line.startsWith(key.substring(0, key.indexOf(':') + 1)));
                lines.add(line.replace("\\t", "\t"));
            }
        }
        needed.addAll(lines);
        return new WrongConfig(String.join("\n", needed) + "\n", String.join("\n", deepSpeed), problems);
    }
}
