package ulysses.job;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import ulysses.runtime.config.ConfigException;

/**
 * The options of a command that are no keys of the configuration, taken out of what was typed.
 *
 * @param own the command's options that were given, spelled with underscores
 * @param rest the command line without them
 */
record CommandOptions(Map<String, String> own, CommandLine rest) {
    CommandOptions {
        own = Map.copyOf(own);
    }

    /** Takes the options {@code names} out of {@code commandLine}. */
    static CommandOptions of(CommandLine commandLine, List<String> names) {
        Map<String, String> own = new LinkedHashMap<>();
        Map<String, String> others = new LinkedHashMap<>();
        commandLine.overrides().forEach((key, value) -> {
            String name = key.replace('-', '_');
            if (names.contains(name)) {
                own.put(name, value);
            } else {
                others.put(key, value);
            }
        });
        return new CommandOptions(
                own,
                new CommandLine(
                        commandLine.command(),
                        commandLine.file(),
                        others,
                        commandLine.debug(),
                        commandLine.learningRateFactor()));
    }

    /** The value of option {@code name}, if it was given. */
    Optional<String> text(String name) {
        return Optional.ofNullable(own.get(name));
    }

    /** Whether the option {@code name} was given, and not as false. */
    boolean flag(String name) {
        return text(name).filter(value -> !value.equals("false")).isPresent();
    }

    /** The value of option {@code name}, a whole number of 0 or more. */
    int count(String name, int otherwise) {
        String text = own.get(name);
        if (text == null) {
            return otherwise;
        }
        if (!text.matches("\\d{1,9}")) {
            throw new ConfigException(
                    "the command line",
                    List.of("--%s %s is not a whole number >= 0; write one, such as %d"
                            .formatted(name, text, otherwise)));
        }
        return Integer.parseInt(text);
    }

    /** Refuses keys of the configuration where there is no configuration: with a folder as the target. */
    void refuseKeys(List<String> names) {
        if (!rest.overrides().isEmpty()) {
            throw new ConfigException(
                    "the command line",
                    rest.overrides().keySet().stream()
                            .map(key -> "%s is no option of %s for a folder; use %s, or name the YAML of the run"
                                    .formatted(
                                            key,
                                            rest.command().word(),
                                            names.isEmpty() ? "none" : "--" + String.join(", --", names)))
                            .toList());
        }
    }
}
