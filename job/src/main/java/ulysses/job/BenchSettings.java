package ulysses.job;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import ulysses.runtime.config.ConfigException;

/**
 * What {@code bench} measures.
 *
 * @param shape {@code --shape}: a name that comes along, or a folder with a config.json
 * @param lengths {@code --seq}: tokens of the sequence, one or several separated by commas
 * @param ranks {@code --ranks}: ranks that share each sequence, one number or several
 * @param threads {@code --threads}: threads of each rank
 * @param steps {@code --steps}: steps that count
 * @param warmup {@code --warmup}: steps before them
 * @param documents {@code --docs}: equal documents in the sequence
 * @param trainedShare {@code --valid_fraction}: share of each document's tokens that are trained
 * @param bf16 {@code --dtype bf16}, else fp32
 * @param loraRank {@code --lora_rank}: an adapter of this rank on all linear layers is trained, else (0) the whole model
 * @param activationMemory {@code --activation_memory}: what layers keep for backward, as the key of the same name; one or several
 * @param zeroStages {@code --zero_stage}, as the key of the same name; one or several
 * @param keys {@code --attention_window} and its like, as the keys of the same names
 * @param cuda {@code --device cuda}: rank r computes on GPU r; else cpu
 * @param output {@code --output}: folder of the page; empty for none
 * @param longestInBytes {@code --longest_in}: memory of all ranks together in which the longest sequence is looked for; 0 for none
 */
record BenchSettings(
        String shape,
        List<Integer> lengths,
        List<Integer> ranks,
        int threads,
        int steps,
        int warmup,
        int documents,
        double trainedShare,
        boolean bf16,
        int loraRank,
        List<String> activationMemory,
        List<Integer> zeroStages,
        Map<String, String> keys,
        boolean cuda,
        String output,
        long longestInBytes) {

    /** Keys of a run's YAML that are options here too, and are passed on where they are given. */
    private static final List<String> KEYS = List.of(
            "attention_window",
            "attention_sinks",
            "attention_block_pattern",
            "attention_block_size",
            "offload_activations",
            "offload_optimizer",
            "overlap_exchange");

    private static final Map<String, String> DEFAULTS = defaults();

    private static Map<String, String> defaults() {
        Map<String, String> defaults = new LinkedHashMap<>();
        defaults.put("shape", "smollm2-135m");
        defaults.put("seq", "4096");
        defaults.put("ranks", "1");
        defaults.put("threads", "2");
        defaults.put("steps", "3");
        defaults.put("warmup", "1");
        defaults.put("docs", "1");
        defaults.put("valid_fraction", "1.0");
        defaults.put("dtype", "fp32");
        defaults.put("lora_rank", "0");
        defaults.put("activation_memory", "attention");
        defaults.put("zero_stage", "0");
        KEYS.forEach(key -> defaults.put(key, ""));
        defaults.put("device", "cpu");
        defaults.put("output", "");
        defaults.put("longest_in", "0");
        return defaults;
    }

    BenchSettings {
        keys = Map.copyOf(keys);
    }

    /**
     * What one line of a chart has in common.
     *
     * @param ranks that share each sequence
     */
    record Setting(int ranks, String activationMemory, int zeroStage) {
        String label() {
            return "P = %d, %s, zero_stage %d".formatted(ranks, activationMemory, zeroStage);
        }
    }

    /** All combinations. */
    List<Setting> settings() {
        return ranks.stream()
                .flatMap(p -> activationMemory.stream()
                        .flatMap(kept -> zeroStages.stream().map(stage -> new Setting(p, kept, stage))))
                .toList();
    }

    /** Reads the options of a command line; throws {@link ConfigException} with all problems. */
    static BenchSettings of(CommandLine commandLine) {
        List<String> problems = new ArrayList<>();
        Map<String, String> given = new LinkedHashMap<>(DEFAULTS);
        commandLine.overrides().forEach((key, value) -> {
            if (DEFAULTS.containsKey(key)) {
                given.put(key, value);
            } else {
                problems.add("%s: bench has no such option; use one of %s".formatted(key, DEFAULTS.keySet()));
            }
        });
        Reader reader = new Reader(given, problems);
        BenchSettings settings = new BenchSettings(
                reader.text("shape"),
                reader.numbers("seq", 2),
                reader.numbers("ranks", 1),
                reader.number("threads", 1),
                reader.number("steps", 1),
                reader.number("warmup", 0),
                reader.number("docs", 1),
                reader.share(),
                reader.either("dtype", "bf16", "fp32"),
                reader.number("lora_rank", 0),
                List.of(reader.text("activation_memory").split(",", -1)),
                reader.numbers("zero_stage", 0),
                reader.keys(),
                reader.either("device", "cuda", "cpu"),
                reader.text("output"),
                reader.bytes("longest_in"));
        if (!problems.isEmpty()) {
            throw new ConfigException("bench", problems);
        }
        return settings;
    }

    private record Reader(Map<String, String> given, List<String> problems) {

        String text(String key) {
            return given.getOrDefault(key, "");
        }

        int number(String key, int least) {
            return whole(key, text(key), least);
        }

        private int whole(String key, String text, int least) {
            try {
                int value = Integer.parseInt(text);
                if (value >= least) {
                    return value;
                }
            } catch (NumberFormatException e) {
                // said below
            }
            problems.add("%s %s: must be a whole number of at least %d".formatted(key, text, least));
            return least;
        }

        List<Integer> numbers(String key, int least) {
            return Arrays.stream(text(key).split(",", -1))
                    .map(number -> whole(key, number.strip(), least))
                    .toList();
        }

        Map<String, String> keys() {
            Map<String, String> keys = new LinkedHashMap<>();
            KEYS.stream().filter(key -> !text(key).isEmpty()).forEach(key -> keys.put(key, text(key)));
            return keys;
        }

        /** With a binary unit: 20GiB, 512MiB; 0 alone. */
        long bytes(String key) {
            Matcher size = Pattern.compile("(\\d{1,9})(?:([KMGT])i?B?)?").matcher(text(key));
            if (size.matches()) {
                int shift = size.group(2) == null ? 0 : 10 * ("KMGT".indexOf(size.group(2)) + 1);
                return Long.parseLong(size.group(1)) << shift;
            }
            problems.add("%s %s: write a size such as 20GiB".formatted(key, text(key)));
            return 0;
        }

        double share() {
            try {
                double share = Double.parseDouble(text("valid_fraction"));
                if (share > 0 && share <= 1) {
                    return share;
                }
            } catch (NumberFormatException e) {
                // said below
            }
            problems.add("valid_fraction %s: must be a number above 0 and up to 1".formatted(text("valid_fraction")));
            return 1;
        }

        boolean either(String key, String yes, String no) {
            String value = text(key);
            if (!value.equals(yes) && !value.equals(no)) {
                problems.add("%s %s: use %s or %s".formatted(key, value, yes, no));
            }
            return value.equals(yes);
        }
    }
}
