package ulysses.driver.launch;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * How a rank process ended.
 *
 * @param code its exit code, 128 + signal when a signal ended it
 * @param oomKills processes of this container that the kernel killed for memory while the rank ran
 * @param crashReport end of the JVM's hs_err file; empty when there is none
 */
record RankExit(int code, long oomKills, List<String> crashReport) {
    /** What {@code RankMain} halts with when its standard input closes. */
    static final int ORPHANED = 70;

    private static final int CRASH_REPORT_LINES = 40;
    private static final Path CGROUP_EVENTS = Path.of("/sys/fs/cgroup/memory.events");

    RankExit {
        crashReport = List.copyOf(crashReport);
    }

    boolean bySignal() {
        return code > 128 && code < 128 + 65;
    }

    /** What happened and what to look at. */
    String describe() {
        return switch (code) {
            case 0 -> "the process ended without saying that it was done";
            case 3 ->
                "the process ended with code 3, out of Java heap; raise it with --conf spark.ulysses.rank.memory=2g";
            case ORPHANED -> "the process ended with code 70: its task closed its standard input";
            case 134 -> "the process was ended by signal 6 (SIGABRT), so native code or the JVM gave up" + crash();
            case 137 -> "the process was ended by signal 9 (SIGKILL)" + killer();
            case 139 -> "the process was ended by signal 11 (SIGSEGV), so native code crashed" + crash();
            case 143 ->
                "the process was ended by signal 15 (SIGTERM): somebody asked it to stop, such as a node shutting down";
            default ->
                bySignal()
                        ? "the process was ended by signal %d".formatted(code - 128)
                        : "the process ended with code %d without saying why".formatted(code);
        };
    }

    private String crash() {
        return crashReport.isEmpty() ? "" : "; the JVM's crash report stands in its log";
    }

    private String killer() {
        if (oomKills > 0) {
            return " by the kernel, because this container ran out of memory; raise spark.executor.memoryOverhead, or lower"
                    + " cutoff_len or per_device_train_batch_size";
        }
        return "; if nobody did that by hand, the machine or its container ran out of memory: raise"
                + " spark.executor.memoryOverhead, or lower cutoff_len or per_device_train_batch_size";
    }

    /** Whether a signal stopped process {@code pid}, which then waits to be told to go on; false where there is no /proc. */
    static boolean isStopped(long pid) {
        try {
            String line = Files.readString(Path.of("/proc", Long.toString(pid), "stat"));
            return line.startsWith(") T", line.lastIndexOf(')')); // behind a name that may hold anything
        } catch (IOException | RuntimeException e) {
            return false; // it has just ended, or another system, where hang_timeout has to do
        }
    }

    /** How many processes the kernel has killed for memory in this container so far; 0 where it does not tell. */
    static long oomKillsSoFar() {
        try (Stream<String> lines = Files.lines(CGROUP_EVENTS)) {
            return lines.filter(line -> line.startsWith("oom_kill "))
                    .mapToLong(line -> Long.parseLong(line.substring("oom_kill ".length())))
                    .sum();
        } catch (IOException | RuntimeException e) {
            return 0; // another cgroup version, or another system: only the hint is lost
        }
    }

    /** The head of the crash report that a JVM left in {@code directory}, where the failing frame stands. */
    static List<String> crashReportIn(Path directory) {
        try (Stream<Path> files = Files.list(directory)) {
            Path report = files.filter(file -> file.getFileName().toString().startsWith("hs_err_pid"))
                    .findFirst()
                    .orElse(null);
            if (report == null) {
                return List.of();
            }
            try (Stream<String> lines = Files.lines(report)) {
                return lines.filter(line -> !line.isBlank())
                        .limit(CRASH_REPORT_LINES)
                        .toList();
            }
        } catch (IOException | RuntimeException e) {
            return List.of("the crash report can't be read: " + e.getMessage());
        }
    }
}
