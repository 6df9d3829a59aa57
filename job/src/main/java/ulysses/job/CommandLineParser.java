package ulysses.job;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import ulysses.job.CommandLine.Command;
import ulysses.runtime.config.ConfigException;

/** One pass over the arguments, from left to right. */
final class CommandLineParser {
    private final List<String> arguments;
    private final Map<String, String> environment;
    private final List<String> problems = new ArrayList<>();
    private final Map<String, String> overrides = new LinkedHashMap<>();
    private int next;
    private Command command = Command.TRAIN;
    private @Nullable String file;
    private @Nullable String adjust;
    private boolean debug;
    private boolean help;

    CommandLineParser(List<String> arguments, Map<String, String> environment) {
        this.arguments = List.copyOf(arguments);
        this.environment = Map.copyOf(environment);
    }

    CommandLine parse() {
        command = command();
        while (next < arguments.size()) {
            take(arguments.get(next++));
        }
        double factor = factor();
        if (command.needsFile() && file == null && !help && problems.isEmpty()) {
            problems.add("%s needs a configuration file; write --config_file FILE".formatted(command.word()));
        }
        if (!problems.isEmpty()) {
            throw new ConfigException("the command line", problems);
        }
        return new CommandLine(help ? Command.HELP : command, file, overrides, debug, factor);
    }

    private Command command() {
        if (arguments.isEmpty()) {
            return Command.HELP;
        }
        String word = arguments.get(0);
        Optional<Command> named = Arrays.stream(Command.values())
                .filter(command -> command.word().equals(word))
                .findFirst();
        boolean isWord = word.matches("[A-Za-z][A-Za-z_-]*");
        if (named.isPresent()) {
            next++;
        } else if (isWord) {
            next++;
            problems.add("command %s does not exist; use one of %s".formatted(word, Command.words()));
        }
        return named.orElse(Command.TRAIN);
    }

    private void take(String argument) {
        int equals = argument.indexOf('=');
        if (argument.equals("-h") || argument.equals("--help")) {
            help = true;
        } else if (argument.startsWith("--") && equals > 0) {
            set(argument.substring(2, equals), argument.substring(equals + 1));
        } else if (argument.startsWith("--") && argument.length() > 2) {
            option(argument.substring(2));
        } else if (argument.startsWith("-")) {
            problems.add("%s is no option; write --key value or key=value".formatted(argument));
        } else if (equals > 0) {
            set(argument.substring(0, equals), argument.substring(equals + 1));
        } else if (file == null) {
            file = argument;
        } else {
            problems.add("%s is left over, since the file is %s; write --key %s or key=%s"
                    .formatted(argument, file, argument, argument));
        }
    }

    /** {@code --name} with its value in the next argument, if that is one. */
    private void option(String name) {
        switch (spelling(name)) {
            case "debug" -> debug = true;
            case "adjust_lr" -> set(name, nextIsFactor() ? arguments.get(next++) : "1");
            case "config_file" -> {
                if (nextIsValue()) {
                    set(name, arguments.get(next++));
                } else {
                    problems.add("--%s has no value; write --%s FILE".formatted(name, name));
                }
            }
            default -> {
                boolean takesNext = command.flags().contains(spelling(name)) ? nextIsTruth() : nextIsValue();
                set(name, takesNext ? arguments.get(next++) : "true");
            }
        }
    }

    private boolean nextIsTruth() {
        return next < arguments.size() && List.of("true", "false").contains(arguments.get(next));
    }

    private void set(String name, String value) {
        switch (spelling(name)) {
            case "config_file" -> {
                if (file != null) {
                    problems.add("--%s %s is a second file after %s; keep one".formatted(name, value, file));
                }
                file = value;
            }
            case "adjust_lr" -> adjust = value;
            case "debug" -> {
                if (value.equals("true") || value.equals("false")) {
                    debug = value.equals("true");
                } else {
                    problems.add("--debug %s is not true or false; write --debug alone".formatted(value));
                }
            }
            default -> {
                overrides.remove(name);
                overrides.put(name, value);
            }
        }
    }

    /** A negative number is a value; another option is not. */
    private boolean nextIsValue() {
        return next < arguments.size() && !arguments.get(next).startsWith("--");
    }

    /** The factor may be left out, so a file or key=value behind it is not taken for one. */
    private boolean nextIsFactor() {
        if (!nextIsValue()) {
            return false;
        }
        String value = arguments.get(next);
        return !value.contains("=") && !value.toLowerCase(Locale.ROOT).matches(".*(\\.ya?ml|\\.json|/.*)");
    }

    private double factor() {
        String variable = environment.getOrDefault(CommandLine.ADJUST_LR_VARIABLE, "");
        String source = adjust != null ? "--adjust-lr" : CommandLine.ADJUST_LR_VARIABLE;
        String text = adjust != null ? adjust : variable.isBlank() ? "1" : variable;
        try {
            double factor = Double.parseDouble(text.strip());
            if (factor > 0 && Double.isFinite(factor)) {
                return factor;
            }
        } catch (NumberFormatException notANumber) {
            // reported below together with numbers that are out of range
        }
        problems.add("%s %s is not a finite number > 0; write one, such as 0.5"
                .formatted(source, text.isEmpty() ? "''" : text));
        return 1;
    }

    private static String spelling(String name) {
        return name.replace('-', '_');
    }
}
