package ulysses.runtime.config;

import com.fasterxml.jackson.annotation.JsonSetter;
import com.fasterxml.jackson.annotation.Nulls;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/** Every key that a YAML may hold, by group, in the order of keys.yaml. */
final class KeyTable {
    private static final KeyTable TABLE = read();

    private final Map<String, List<ConfigKey>> groups;
    private final Map<String, ConfigKey> byName = new LinkedHashMap<>();

    private KeyTable(Map<String, List<ConfigKey>> groups) {
        this.groups = groups;
        for (List<ConfigKey> keys : groups.values()) {
            for (ConfigKey key : keys) {
                if (byName.put(key.name(), key) != null) {
                    throw new IllegalArgumentException("keys.yaml holds " + key.name() + " twice; keep one");
                }
            }
        }
    }

    static KeyTable table() {
        return TABLE;
    }

    /** Keys by group, for the documentation. */
    Map<String, List<ConfigKey>> groups() {
        return groups;
    }

    Optional<ConfigKey> find(String name) {
        return Optional.ofNullable(byName.get(name));
    }

    /** @throws IllegalArgumentException if the table lacks the key: a mistake of ours, not of the user */
    ConfigKey get(String name) {
        return find(name).orElseThrow(() -> new IllegalArgumentException("keys.yaml has no key " + name));
    }

    /** The known key with the fewest changed letters, if that is at most a third of them. */
    Optional<String> nearest(String name) {
        String nearest = byName.keySet().stream()
                .min(Comparator.comparingInt(key -> editDistance(key, name)))
                .orElseThrow();
        return editDistance(nearest, name) * 3 <= Math.max(name.length(), 3) ? Optional.of(nearest) : Optional.empty();
    }

    /** Levenshtein's distance: insertions, deletions and replacements. */
    static int editDistance(String left, String right) {
        int[] row = new int[right.length() + 1];
        Arrays.setAll(row, i -> i);
        for (int i = 1; i <= left.length(); i++) {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= right.length(); j++) {
                int replaced = diagonal + (left.charAt(i - 1) == right.charAt(j - 1) ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.min(replaced, Math.min(row[j], row[j - 1]) + 1);
            }
        }
        return row[right.length()];
    }

    private static KeyTable read() {
        try (InputStream yaml = Objects.requireNonNull(
                KeyTable.class.getResourceAsStream("keys.yaml"), "keys.yaml is missing from the jar")) {
            YAMLMapper mapper = new YAMLMapper();
            mapper.configOverride(List.class).setSetterInfo(JsonSetter.Value.forValueNulls(Nulls.AS_EMPTY));
            return new KeyTable(mapper.readValue(yaml, new TypeReference<LinkedHashMap<String, List<ConfigKey>>>() {}));
        } catch (IOException damaged) {
            throw new UncheckedIOException("keys.yaml in the jar can't be read", damaged);
        }
    }
}
