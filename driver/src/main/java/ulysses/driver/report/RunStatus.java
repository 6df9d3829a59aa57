package ulysses.driver.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.Folder;

/** How far a run is, by the files in its {@code output_dir}: while it goes on, after its end, or after it was killed. */
public final class RunStatus {
    private static final int WARNINGS = 5;
    private static final JsonMapper JSON =
            JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();

    private final RunRecord run;
    private final Instant heard;
    private final Instant now;

    private RunStatus(RunRecord run, Instant heard, Instant now) {
        this.run = run;
        this.heard = heard;
        this.now = now;
    }

    /** Of the run that writes to {@code output}, at {@code now}; empty if no run of ours did. */
    public static Optional<RunStatus> read(Folder output, Configuration hadoop, Instant now) {
        RunRecord run = RunRecord.read(output, hadoop);
        List<TimedEvent> events = run.events();
        return events.isEmpty()
                ? Optional.empty()
                : Optional.of(new RunStatus(run, events.get(events.size() - 1).time(), now));
    }

    /** Of a run that was last heard of at {@code heard}. */
    static RunStatus live(RunRecord run, Instant heard, Instant now) {
        return new RunStatus(run, heard, now);
    }

    /** Everything by name, with units in the names; what is not known yet is left out. */
    Map<String, Object> values() {
        Map<String, Object> values = new LinkedHashMap<>();
        values.put("state", state());
        run.arguments().ifPresent(told -> {
            values.put("started", told.started());
            values.put("ranks", told.mesh().worldSize());
            values.put("sequence_parallel_size", told.mesh().sequenceParallelSize());
        });
        values.put("attempts", run.attempts());
        phase().ifPresent(phase -> values.put("phase", phase));
        last(RankEvent.Step.class).map(RankEvent.Step.class::cast).ifPresent(step -> steps(step, values));
        latest(RankEvent.Saved.class).ifPresent(timed -> {
            RankEvent.Saved saved = (RankEvent.Saved) timed.event();
            values.put("checkpoint_step", saved.step());
            values.put("checkpoint", saved.path());
            values.put("checkpoint_age_seconds", age(timed.time()));
        });
        values.put("last_sign_of_life_seconds_ago", age(heard));
        List<String> warnings = run.events(RankEvent.Warning.class)
                .map(RankEvent.Warning::message)
                .toList();
        values.put("warnings", warnings.subList(Math.max(0, warnings.size() - WARNINGS), warnings.size()));
        if (run.ending() == RunRecord.Ending.FAILED) {
            last(RankEvent.Failed.class)
                    .map(RankEvent.Failed.class::cast)
                    .ifPresent(failed -> values.put("failure", failed.message()));
        }
        return values;
    }

    /** What rank 0 does; between steps it says so, and a step that is done is followed by the next. */
    private Optional<String> phase() {
        return run.events().stream()
                .map(TimedEvent::event)
                .filter(event -> event instanceof RankEvent.Phase || event instanceof RankEvent.Step)
                .reduce((first, second) -> second)
                .map(event -> event instanceof RankEvent.Phase phase ? phase.phase() : "step");
    }

    private void steps(RankEvent.Step step, Map<String, Object> values) {
        values.put("step", step.step());
        values.put("total_steps", step.totalSteps());
        values.put("epoch", step.epoch());
        values.put("loss", step.loss());
        values.put("grad_norm", step.gradNorm());
        values.put("learning_rate", step.learningRate());
        values.put("seconds_per_step", step.seconds());
        values.put("tokens_per_second", step.tokens() / step.seconds());
        values.put("peak_memory_bytes_rank_0", step.peakBytes());
        if (run.ending() == RunRecord.Ending.NOT_YET) {
            values.put("seconds_left", Math.round((step.totalSteps() - step.step()) * step.seconds()));
        }
    }

    private String state() {
        return switch (run.ending()) {
            case NOT_YET -> "not ended"; // its files can't tell a run that goes on from one that was killed
            case DONE -> "done";
            case FAILED -> "failed";
        };
    }

    private Optional<TimedEvent> latest(Class<? extends RankEvent> kind) {
        return run.events().stream()
                .filter(timed -> kind.isInstance(timed.event()))
                .reduce((first, second) -> second);
    }

    private Optional<RankEvent> last(Class<? extends RankEvent> kind) {
        return latest(kind).map(TimedEvent::event);
    }

    private long age(Instant time) {
        return Math.max(0, Duration.between(time, now).toSeconds());
    }

    /** One JSON object, for scripts. */
    public String json() {
        try {
            return JSON.writeValueAsString(values());
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a status is no JSON", e);
        }
    }

    /** A line a value, for people. */
    public List<String> lines() {
        List<String> lines = new ArrayList<>();
        values().forEach((name, value) -> {
            String label = name.replace('_', ' ');
            if (value instanceof List<?> several) {
                several.forEach(one -> lines.add("%-30s %s".formatted("warning", one)));
            } else {
                lines.add("%-30s %s".formatted(label, text(value)));
            }
        });
        return lines;
    }

    private static String text(Object value) {
        return value instanceof Double number
                ? String.format(Locale.ROOT, Math.abs(number) < 0.01 ? "%.3e" : "%,.4f", number)
                : value instanceof Long number ? String.format(Locale.ROOT, "%,d", number) : String.valueOf(value);
    }
}
