package ulysses.job;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * One command as a user sees it.
 *
 * @param code what the process would exit with
 * @param out what it printed on standard output
 * @param err what it printed on standard error; log lines of Spark and of ours go elsewhere
 */
record JobRun(int code, String out, String err) {
    /** No hub is asked, and no cache of this machine is looked into. */
    static final Map<String, String> NOWHERE = Map.of("HF_HUB_OFFLINE", "1", "HF_HOME", "target/no-hub");

    /** Runs it in this JVM, on the cluster of {@link SharedCluster}. */
    static JobRun of(String... arguments) {
        return with(NOWHERE, arguments);
    }

    /** The same with variables of its environment. */
    static JobRun with(Map<String, String> environment, String... arguments) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        int code = Main.run(arguments, environment, print(out), print(err));
        return new JobRun(code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
    }

    private static PrintStream print(ByteArrayOutputStream bytes) {
        return new PrintStream(bytes, true, StandardCharsets.UTF_8);
    }

    /** This run, which has to have ended well. */
    JobRun succeeded() {
        if (code != 0) {
            throw new AssertionError("exit code %d%n%s%n%s".formatted(code, err, out));
        }
        return this;
    }
}
