package ulysses.driver.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.mesh.RankEvent;

/**
 * What there is to see of a run that goes on, in memory that does not grow with its length: what {@link RunStatus} prints, curves,
 * and where every rank is. Events may come from any thread.
 */
final class LiveRun implements Consumer<RankEvent> {
    private static final int EVENTS = 1_000;
    private static final int POINTS = 4_000;
    private static final int POINTS_SENT = 800; // chosen: more than a chart has pixels
    private static final int STEPS_BEGUN = 1_000;
    private static final double MILLIS = 1e3;
    private static final JsonMapper JSON = JsonMapper.builder().build();

    private final RunArguments arguments;
    private final Clock clock;
    private final List<TimedEvent> events = new ArrayList<>();
    private final Map<String, List<Series.Point>> curves = new LinkedHashMap<>();
    private final TreeMap<Integer, Place> ranks = new TreeMap<>();
    /** When a rank was first seen at a step. */
    private final TreeMap<Long, Instant> begun = new TreeMap<>();

    private int attempt;

    private Instant heard;
    private @Nullable TimedEvent step;

    /** What was last heard of a rank. */
    private record Place(int rank, String host, @Nullable String device, String phase, long step, Instant heard) {
        Place at(String newPhase, long newStep, Instant now) {
            return new Place(rank, host, device, newPhase, newStep, now);
        }
    }

    private LiveRun(RunArguments arguments, Clock clock) {
        this.arguments = arguments;
        this.clock = clock;
        this.heard = clock.instant();
    }

    /** A run that goes on from what {@code earlier} tells of the same folder. */
    static LiveRun of(RunArguments arguments, RunRecord earlier, Clock clock) {
        LiveRun run = new LiveRun(arguments, clock);
        earlier.events().forEach(run::keep);
        run.curves.put("loss", run.points(earlier.series("loss")));
        run.curves.put("learning_rate", run.points(earlier.series("learning_rate")));
        run.curves.put("grad_norm", run.points(earlier.series("grad_norm")));
        run.curves.put(
                "tokens_per_second",
                run.points(earlier.measured("tokens_per_second", step -> step.tokens() / step.seconds())));
        return run;
    }

    private List<Series.Point> points(Series series) {
        return new ArrayList<>(series.thinned(POINTS / 2).points());
    }

    @Override
    public synchronized void accept(RankEvent event) {
        heard = clock.instant();
        keep(new TimedEvent(heard, event));
        if (event instanceof RankEvent.Step stepped) {
            draw("loss", stepped.step(), stepped.loss());
            draw("learning_rate", stepped.step(), stepped.learningRate());
            draw("grad_norm", stepped.step(), stepped.gradNorm());
            draw("tokens_per_second", stepped.step(), stepped.tokens() / stepped.seconds());
        }
        follow(event);
    }

    /** Of steps the last one, of everything else what the journal keeps; the oldest go first. */
    private void keep(TimedEvent timed) {
        if (timed.event() instanceof RankEvent.Step) {
            step = timed;
        } else if (RunJournal.isWorthKeeping(timed.event())
                && !(timed.event() instanceof RankEvent.Placed)
                && !(timed.event() instanceof RankEvent.Measured)
                && !(timed.event() instanceof RankEvent.Logged)) {
            events.add(timed);
            if (events.size() > EVENTS) {
                events.subList(0, EVENTS / 2)
                        .removeIf(old -> !(old.event() instanceof RankEvent.Phase)); // those count attempts
            }
        }
    }

    /** Adds a point; a step that is done again replaces what came after it. */
    private void draw(String name, long at, double value) {
        List<Series.Point> points = curves.computeIfAbsent(name, absent -> new ArrayList<>());
        while (!points.isEmpty() && points.get(points.size() - 1).step() >= at) {
            points.remove(points.size() - 1);
        }
        points.add(new Series.Point(at, value));
        if (points.size() > POINTS) {
            List<Series.Point> fewer =
                    Series.of(name, points).thinned(POINTS / 2).points();
            points.clear();
            points.addAll(fewer);
        }
    }

    private void follow(RankEvent event) {
        if (event instanceof RankEvent.Placed placed) {
            if (placed.attempt() != attempt) {
                attempt = placed.attempt();
                ranks.clear();
            }
            begun.clear(); // a new attempt may begin at an earlier step
            ranks.put(placed.rank(), new Place(placed.rank(), placed.host(), placed.device(), "meet", 0, heard));
            return;
        }
        Place place = ranks.get(event.rank());
        if (place == null) {
            return;
        }
        if (event instanceof RankEvent.Phase phase) {
            place = place.at(phase.phase(), phase.step(), heard);
        } else if (event instanceof RankEvent.Failed failed) {
            place = place.at("failed", failed.step(), heard);
        } else if (event instanceof RankEvent.Done done) {
            place = place.at("done", done.steps(), heard);
        } else {
            place = place.at(place.phase(), place.step(), heard);
        }
        ranks.put(place.rank(), place);
        if (begun.isEmpty() || place.step() > begun.lastKey()) {
            begun.put(place.step(), heard);
            if (begun.size() > STEPS_BEGUN) {
                begun.pollFirstEntry();
            }
        }
    }

    /** One JSON object: all that {@code status --json} prints, and {@code curves} and {@code rank_table}. */
    synchronized String json() {
        Instant now = clock.instant();
        List<TimedEvent> all = new ArrayList<>(events);
        Optional.ofNullable(step).ifPresent(all::add);
        all.sort(Comparator.comparing(TimedEvent::time));
        Map<String, Object> values = new LinkedHashMap<>(
                RunStatus.live(RunRecord.live(arguments, all), heard, now).values());
        values.put(
                "output_dir",
                arguments.config().path("output").path("outputDir").asText());
        Map<String, Object> drawn = new LinkedHashMap<>();
        curves.forEach((name, points) -> drawn.put(
                name,
                Series.of(name, points).thinned(POINTS_SENT).points().stream()
                        .map(point -> List.of((long) point.step(), point.value()))
                        .toList()));
        values.put("curves", drawn);
        values.put(
                "rank_table",
                ranks.values().stream().map(place -> row(place, now)).toList());
        try {
            return JSON.writeValueAsString(RunArguments.masked(JSON.valueToTree(values)));
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a run is no JSON", e);
        }
    }

    private Map<String, Object> row(Place place, Instant now) {
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("rank", place.rank());
        row.put("host", place.host());
        if (place.device() != null) {
            row.put("gpu", place.device());
        }
        row.put("phase", place.phase());
        row.put("step", place.step());
        row.put("late_seconds", late(place, now));
        row.put("silent_seconds", seconds(place.heard(), now));
        return row;
    }

    /** How long ago another rank began the step after this one's; 0 for the foremost. */
    private double late(Place place, Instant now) {
        Map.Entry<Long, Instant> next = begun.higherEntry(place.step());
        return next == null ? 0 : seconds(next.getValue(), now);
    }

    private static double seconds(Instant from, Instant to) {
        return Math.max(0, Duration.between(from, to).toMillis()) / MILLIS;
    }
}
