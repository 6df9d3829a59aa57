package ulysses.runtime.config;

import java.io.Serial;
import java.util.List;
import java.util.stream.Collectors;

/** What is wrong with a user's configuration: all problems at once, each with key, value, limit and what to do. */
public final class ConfigException extends RuntimeException {
    @Serial
    private static final long serialVersionUID = 1L;

    private final String[] problems;

    /**
     * @param source what was read, for the first line of the message
     * @param problems one sentence each; at least one
     */
    public ConfigException(String source, List<String> problems) {
        super(message(source, problems));
        this.problems = problems.stream().map(MessageText::shortened).toArray(String[]::new);
    }

    /** One sentence each, in the order of the source. */
    public List<String> problems() {
        return List.of(problems);
    }

    private static String message(String source, List<String> problems) {
        if (problems.isEmpty()) {
            throw new IllegalArgumentException("a ConfigException needs a problem");
        }
        String count = problems.size() == 1 ? "1 problem" : problems.size() + " problems";
        return count + " in " + source + ":\n- "
                + problems.stream().map(MessageText::shortened).collect(Collectors.joining("\n- "));
    }
}
