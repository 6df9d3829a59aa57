package ulysses.runtime.training;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.security.UserGroupInformation;
import ulysses.runtime.memory.NativeRuntime;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.FileSystemTokens;

/**
 * The process of one rank. It reads its assignment as one line of JSON on standard input, {@link FileSystemTokens} as other lines
 * before and behind it, and halts when that closes, so that no rank outlives whoever started it; events go to standard output, everything
 * else to standard error.
 */
public final class RankMain {

    /** Exit code when standard input closed: whoever started this process is gone. */
    private static final int ORPHANED = 70;

    private RankMain() {}

    /** Runs one rank; the exit code is 0 when it has done all its work. */
    public static void main(String[] arguments) throws IOException {
        PrintStream events = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        System.setOut(System.err);
        NativeRuntime.configure();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        String line = input.readLine();
        for (; line != null && !line.startsWith("{"); line = input.readLine()) {
            accept(line);
        }
        if (line == null) {
            Runtime.getRuntime().halt(ORPHANED);
        }
        RankAssignment assignment = new ObjectMapper().readValue(line, RankAssignment.class);
        RankReporter reporter = new RankReporter(assignment.rank(), events);
        listen(input);
        // Halting, not exiting: a group whose peers are gone may never let go of its threads.
        Runtime.getRuntime().halt(run(assignment, reporter));
    }

    private static int run(RankAssignment assignment, RankReporter reporter) {
        try {
            NativeRuntime.start(assignment.threads());
            long steps = new RankRun(assignment, reporter).run();
            reporter.event(new RankEvent.Done(assignment.rank(), steps));
            return 0;
        } catch (Throwable failure) {
            failure.printStackTrace(System.err); // the log of this rank; the event below is what the user reads
            FailureReport report = FailureReport.of(failure);
            reporter.event(new RankEvent.Failed(assignment.rank(), reporter.step(), report.kind(), report.message()));
            return 1;
        }
    }

    /** Takes new tokens for file systems, and halts when nobody is there any more to send them. */
    private static void listen(BufferedReader input) {
        Thread watch = new Thread(
                () -> {
                    try {
                        for (String line = input.readLine(); line != null; line = input.readLine()) {
                            accept(line);
                        }
                    } catch (IOException e) {
                        // a broken pipe means the same as a closed one
                    }
                    Runtime.getRuntime().halt(ORPHANED);
                },
                "parent-watch");
        watch.setDaemon(true);
        watch.start();
    }

    private static void accept(String tokens) {
        try {
            UserGroupInformation.getLoginUser().addCredentials(FileSystemTokens.read(tokens));
        } catch (IOException e) {
            e.printStackTrace(System.err); // goes on with the tokens that it has
        }
    }
}
