package ulysses.runtime.config;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import org.junit.jupiter.api.Test;

/** conf/README.md lists every key as keys.yaml has it; {@code -Dconf.readme.write=true} writes the tables again. */
class KeyReadmeTest {
    private static final Path README = Path.of("..", "conf", "README.md");
    private static final String BEGIN = "<!-- keys: written by KeyReadmeTest, -Dconf.readme.write=true -->\n";
    private static final String END = "<!-- keys: end -->\n";

    @Test
    void readmeListsEveryKeyAsTheTableHasIt() throws IOException {
        String text = Files.readString(README);
        int begin = text.indexOf(BEGIN) + BEGIN.length();
        String tables = tables();
        if (Boolean.getBoolean("conf.readme.write")) {
            text = text.substring(0, begin) + tables + text.substring(text.indexOf(END));
            Files.writeString(README, text);
        }

        String written = text.substring(begin, text.indexOf(END));

        assertThat(written).isEqualTo(tables);
    }

    private static String tables() {
        StringBuilder text = new StringBuilder();
        KeyTable.table().groups().forEach((group, keys) -> {
            text.append("\n### ").append(group).append("\n\n");
            text.append("| key | type | default | limits | what it is for | here |\n");
            text.append("| --- | --- | --- | --- | --- | --- |\n");
            keys.forEach(key -> text.append(row(key)));
        });
        return text.append('\n').toString();
    }

    private static String row(ConfigKey key) {
        String here = switch (key.answer()) {
            case SUPPORTED -> "supported";
            case IGNORED -> "ignored: " + key.why();
            case REFUSED -> "refused: " + key.why();
        };
        if (!key.refusedChoices().isEmpty()) {
            here += "; refused %s: %s".formatted(String.join(", ", key.refusedChoices()), key.why());
        }
        String fallback = Objects.requireNonNullElse(key.fallback(), "null");
        return "| `%s` | %s | %s | %s | %s | %s |%n"
                .formatted(
                        key.name(),
                        key.type().words(),
                        fallback.isEmpty() ? "empty" : fallback,
                        key.limitWords(),
                        key.says(),
                        here);
    }
}
