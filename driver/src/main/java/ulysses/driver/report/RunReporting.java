package ulysses.driver.report;

import java.time.Clock;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.apache.hadoop.conf.Configuration;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import ulysses.driver.launch.LaunchException;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.StorageException;

/**
 * All that is told of one run: the journal and the services of {@code report_to} while it goes on, pictures, card and page at the
 * end. A run that is closed without {@link #finished} has failed.
 */
public final class RunReporting implements Consumer<RankEvent>, AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(RunReporting.class);

    private final Folder output;
    private final Configuration hadoop;
    private final RunJournal journal;
    private final RunFollowers followers;
    private boolean finished;

    private RunReporting(Folder output, Configuration hadoop, RunJournal journal, RunFollowers followers) {
        this.output = output;
        this.hadoop = hadoop;
        this.journal = journal;
        this.followers = followers;
    }

    /**
     * What was made for people.
     *
     * @param pictures names in {@code output_dir}
     * @param notes what could not be made, and why
     * @param places where services show the run, a line each
     */
    public record Made(List<String> pictures, List<String> notes, List<String> places) {
        public Made {
            pictures = List.copyOf(pictures);
            notes = List.copyOf(notes);
            places = List.copyOf(places);
        }
    }

    /** Begins to follow a run. */
    public static RunReporting begin(
            RunArguments arguments, TrainingConfig config, Map<String, String> environment, Configuration hadoop) {
        Clock clock = Clock.systemUTC();
        Folder output = Folder.at(config.output().outputDir(), hadoop);
        int loggingSteps = config.output().loggingSteps();
        RunJournal journal = config.output().startsAnew()
                ? RunJournal.begin(output, loggingSteps, clock)
                : RunJournal.resume(output, loggingSteps, clock);
        arguments.write(output);
        return new RunReporting(
                output, hadoop, journal, RunFollowers.begin(arguments, config, environment, hadoop, clock));
    }

    /** Where the run can be looked at while it goes on: the address of its status page, if it has one. */
    public Optional<String> statusPage() {
        return followers.statusPage();
    }

    @Override
    public void accept(RankEvent event) {
        apart("the journal of the run", () -> journal.accept(event));
        followers.accept(event);
    }

    /** The run is done: writes everything there is to look at. */
    public Made finished() {
        finished = true;
        apart("the journal of the run", journal::close);
        followers.end(RunRecord.Ending.DONE);
        try {
            RunReport.Made made = RunReport.finished(output, hadoop);
            return new Made(
                    made.files().stream().filter(name -> name.endsWith(".png")).toList(),
                    made.notes(),
                    followers.places());
        } catch (RuntimeException e) { // the model is there: a run that trained for days does not fail for its page
            LOG.warn("no report", e);
            return new Made(List.of(), List.of("no report: " + e.getMessage()), followers.places());
        }
    }

    /** Notes why the run failed; what is thrown on is the user's to read. */
    public void failed(RuntimeException failure) {
        String kind = failure instanceof LaunchException launch
                ? launch.kind().name().toLowerCase(Locale.ROOT)
                : failure instanceof StorageException ? "storage" : "internal";
        String message = failure.getMessage() == null ? failure.toString() : failure.getMessage();
        apart("the journal of the run", () -> journal.failed(kind, message));
    }

    @Override
    public void close() {
        if (finished) {
            return;
        }
        apart("the journal of the run", journal::close); // the failure of the run is what the user has to hear
        followers.end(RunRecord.Ending.FAILED);
        apart("the report", () -> RunReport.unfinished(output, hadoop));
    }

    /** Does one part of the reporting; should it fail, the run and the other parts go on without it. */
    static void apart(String what, Runnable part) {
        try {
            part.run();
        } catch (RuntimeException e) {
            LOG.warn("{} failed: {}", what, e.toString());
        }
    }
}
