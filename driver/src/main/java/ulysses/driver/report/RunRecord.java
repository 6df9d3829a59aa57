package ulysses.driver.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import ulysses.driver.packing.PrepareReport;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.StorageException;

/**
 * A run as the files in its {@code output_dir} tell it, while it runs or long after. A folder that LLaMA-Factory itself wrote has a
 * history too, but no events.
 */
public final class RunRecord {
    /** World rank of events that the driver wrote. */
    static final int DRIVER = -1;

    static final String STATE = "trainer_state.json";
    static final String RESULTS = "all_results.json";

    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .build();

    private final Optional<RunArguments> arguments;
    private final List<TimedEvent> events;
    private final List<Entry> history;
    private final JsonNode results;
    private final Optional<PrepareReport> prepared;

    /** What was logged at a step. */
    record Entry(long step, Map<String, Double> values) {}

    /** How a run ended, if it has. */
    public enum Ending {
        NOT_YET,
        DONE,
        FAILED
    }

    private RunRecord(
            Optional<RunArguments> arguments,
            List<TimedEvent> events,
            List<Entry> history,
            JsonNode results,
            Optional<PrepareReport> prepared) {
        this.arguments = arguments;
        this.events = List.copyOf(events);
        this.history = List.copyOf(history);
        this.results = results;
        this.prepared = prepared;
    }

    /** Reads what is there; {@code hadoop} reaches the prepared rows, which may be elsewhere. */
    public static RunRecord read(Folder output, Configuration hadoop) {
        Optional<RunArguments> arguments = RunArguments.read(output);
        List<TimedEvent> events = output.has(RunJournal.EVENTS)
                ? output.readText(RunJournal.EVENTS)
                        .lines()
                        .map(TimedEvent::parse)
                        .flatMap(Optional::stream)
                        .toList()
                : List.of();
        return new RunRecord(
                arguments,
                events,
                history(json(output, STATE), events),
                json(output, RESULTS),
                arguments.flatMap(told -> prepared(told, hadoop)));
    }

    /** What is known of a run that goes on, without its files. */
    static RunRecord live(RunArguments arguments, List<TimedEvent> events) {
        return new RunRecord(Optional.of(arguments), events, List.of(), JSON.createObjectNode(), Optional.empty());
    }

    private static Optional<PrepareReport> prepared(RunArguments arguments, Configuration hadoop) {
        try {
            Folder folder =
                    Folder.at(new Path(arguments.trainRows()).getParent().toString(), hadoop);
            return folder.has(PrepareReport.FILE_NAME)
                    ? PrepareReport.parse(folder.read(PrepareReport.FILE_NAME))
                    : Optional.empty();
        } catch (StorageException gone) {
            return Optional.empty();
        }
    }

    private static JsonNode json(Folder output, String name) {
        if (!output.has(name)) {
            return JSON.createObjectNode();
        }
        try {
            return JSON.readTree(output.readText(name));
        } catch (JsonProcessingException e) {
            throw new StorageException(
                    "%s is damaged: %s; train again, or take the one of a checkpoint"
                            .formatted(output.path(name), e.getOriginalMessage()),
                    e);
        }
    }

    /** {@code trainer_state.json} is written with checkpoints only: in between, the events are ahead of it. */
    private static List<Entry> history(JsonNode state, List<TimedEvent> events) {
        List<Entry> live = new ArrayList<>();
        for (TimedEvent timed : events) {
            if (timed.event() instanceof RankEvent.Logged logged) {
                String kind = kind(logged.values());
                live.removeIf(entry -> entry.step() > logged.step()
                        || (entry.step() == logged.step()
                                && kind(entry.values()).equals(kind)));
                live.add(new Entry(logged.step(), logged.values()));
            }
        }
        boolean ahead = !live.isEmpty()
                && live.get(live.size() - 1).step() > state.path("global_step").asLong();
        return ahead ? live : entries(state);
    }

    /** What was logged: a step, or an evaluation set, by the name of its loss. */
    private static String kind(Map<String, Double> values) {
        return values.keySet().stream()
                .filter(name -> name.matches("loss|eval_(.+_)?loss"))
                .findFirst()
                .orElse("");
    }

    private static List<Entry> entries(JsonNode state) {
        List<Entry> entries = new ArrayList<>();
        for (JsonNode logged : state.path("log_history")) {
            Map<String, Double> values = new LinkedHashMap<>();
            logged.properties().stream()
                    .filter(field -> field.getValue().isNumber())
                    .forEach(
                            field -> values.put(field.getKey(), field.getValue().doubleValue()));
            entries.add(new Entry(logged.path("step").asLong(), values));
        }
        return entries;
    }

    /** What the run was told; empty for a folder of LLaMA-Factory. */
    Optional<RunArguments> arguments() {
        return arguments;
    }

    List<Entry> history() {
        return history;
    }

    /** Names of everything that was logged, in order of their first appearance. */
    List<String> names() {
        return history.stream()
                .flatMap(entry -> entry.values().keySet().stream())
                .distinct()
                .toList();
    }

    /** The curve of what was logged as {@code name}; empty if nothing was. */
    Series series(String name) {
        return Series.of(
                name,
                history.stream()
                        .filter(entry -> entry.values().containsKey(name))
                        .map(entry ->
                                new Series.Point(entry.step(), entry.values().get(name)))
                        .toList());
    }

    /** A curve of what steps measured; of a step that was done twice the last one counts. */
    Series measured(String name, ToDoubleFunction<RankEvent.Step> value) {
        TreeMap<Long, Series.Point> points = new TreeMap<>();
        events(RankEvent.Step.class).forEach(step -> {
            points.tailMap(step.step(), true).clear();
            points.put(step.step(), new Series.Point(step.step(), value.applyAsDouble(step)));
        });
        return Series.of(name, points.values());
    }

    /** Events of one kind, in order. */
    <T extends RankEvent> Stream<T> events(Class<T> kind) {
        return events.stream().map(TimedEvent::event).filter(kind::isInstance).map(kind::cast);
    }

    List<TimedEvent> events() {
        return events;
    }

    /** Attempts of all commands that wrote into the folder: each begins by loading. */
    long attempts() {
        return events(RankEvent.Phase.class)
                .filter(phase -> phase.phase().equals("load"))
                .count();
    }

    /**
     * Whether and how the run ended, by its last event that says so. Rank 0 is done last, with the model; others may be long before.
     * A rank's failure ends its attempt only: that no other follows, the driver alone can say.
     */
    public Ending ending() {
        Ending ending = Ending.NOT_YET;
        for (TimedEvent timed : events) {
            if (timed.event() instanceof RankEvent.Done done && done.rank() == 0) {
                ending = Ending.DONE;
            } else if (timed.event() instanceof RankEvent.Failed failed && failed.rank() == DRIVER) {
                ending = Ending.FAILED;
            } else if (timed.event() instanceof RankEvent.Phase phase
                    && phase.phase().equals("load")) {
                ending = Ending.NOT_YET;
            }
        }
        return ending;
    }

    /** From the first to the last event. */
    Duration lasted() {
        return events.isEmpty()
                ? Duration.ZERO
                : Duration.between(
                        events.get(0).time(), events.get(events.size() - 1).time());
    }

    /** What preparing made of the data; empty when its report is no longer there, or another program prepared the rows. */
    Optional<PrepareReport> prepared() {
        return prepared;
    }

    /** {@code all_results.json}; an empty object before the end. */
    JsonNode results() {
        return results;
    }
}
