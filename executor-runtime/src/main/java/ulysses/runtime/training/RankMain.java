package ulysses.runtime.training;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import ulysses.runtime.memory.NativeRuntime;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.mesh.RankEvent;

/**
 * The process of one rank. It reads its assignment as one line of JSON on standard input and halts when that closes, so that no
 * rank outlives whoever started it; events go to standard output, everything else to standard error.
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
        if (line == null) {
            Runtime.getRuntime().halt(ORPHANED);
        }
        RankAssignment assignment = new ObjectMapper().readValue(line, RankAssignment.class);
        RankReporter reporter = new RankReporter(assignment.rank(), events);
        haltWhenClosed(input);
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

    private static void haltWhenClosed(BufferedReader input) {
        Thread watch = new Thread(
                () -> {
                    try {
                        while (input.readLine() != null) {
                            // nothing is said after the assignment
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
}
