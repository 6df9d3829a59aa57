package ulysses.driver.report;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import ulysses.driver.launch.LaunchException;
import ulysses.runtime.mesh.RankEvent;

/**
 * A run in MLflow: its settings as parameters, everything that is logged as metrics, and how it ended. MLflow is talked to on a
 * thread of its own; when it fails while training goes on, metrics wait for the next try and the run does not.
 */
final class MlflowRun implements RunFollower {
    private static final Logger LOG = LoggerFactory.getLogger(MlflowRun.class);
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration BETWEEN_SENDS = Duration.ofSeconds(5);
    private static final int PARAMETERS_A_CALL = 100; // the server's limit
    private static final int METRICS_A_CALL = 1000; // the server's limit
    private static final int LONGEST_VALUE = 500; // servers before 2.8 take no more
    private static final int MOST_WAITING = 20_000; // chosen: some 2 MB
    private static final Duration LAST_WORDS = Duration.ofSeconds(30);

    private final MlflowTracking tracking;
    private final String runId;
    private final Clock clock;
    private final ExecutorService sender = Executors.newSingleThreadExecutor(work -> {
        Thread thread = new Thread(work, "mlflow");
        thread.setDaemon(true);
        return thread;
    });
    private final List<ObjectNode> waiting = new ArrayList<>();
    private Instant lastSend;
    private boolean warned;
    private boolean ended;

    private MlflowRun(MlflowTracking tracking, String runId, Clock clock) {
        this.tracking = tracking;
        this.runId = runId;
        this.clock = clock;
        this.lastSend = clock.instant();
    }

    /**
     * Begins a run there.
     *
     * @param settings its parameters
     * @param tags its tags
     * @throws LaunchException when it is not taken
     */
    static MlflowRun begin(
            MlflowTracking tracking, String name, Map<String, String> settings, Map<String, String> tags, Clock clock) {
        ObjectNode create = JSON.createObjectNode()
                .put("experiment_id", tracking.experimentId())
                .put("run_name", name)
                .put("start_time", clock.millis());
        Map<String, String> all = new LinkedHashMap<>(tags);
        all.put("mlflow.runName", name);
        all.put("mlflow.source.type", "JOB");
        create.set("tags", pairs(all));
        String id = tracking.post("runs/create", create)
                .path("run")
                .path("info")
                .path("run_id")
                .asText();
        MlflowRun run = new MlflowRun(tracking, id, clock);
        run.parameters(settings);
        return run;
    }

    private void parameters(Map<String, String> settings) {
        ArrayNode all = pairs(settings);
        for (int from = 0; from < all.size(); from += PARAMETERS_A_CALL) {
            ArrayNode some = JSON.createArrayNode();
            for (int i = from; i < Math.min(all.size(), from + PARAMETERS_A_CALL); i++) {
                some.add(all.get(i));
            }
            ObjectNode batch = JSON.createObjectNode().put("run_id", runId);
            batch.set("params", some);
            tracking.post("runs/log-batch", batch);
        }
    }

    private static ArrayNode pairs(Map<String, String> values) {
        ArrayNode pairs = JSON.createArrayNode();
        values.forEach((key, value) -> pairs.addObject()
                .put("key", key)
                .put("value", value.substring(0, Math.min(value.length(), LONGEST_VALUE))));
        return pairs;
    }

    /** Its id in MLflow. */
    String id() {
        return runId;
    }

    @Override
    public synchronized void accept(RankEvent event) {
        if (!(event instanceof RankEvent.Logged logged) || ended) {
            return;
        }
        Instant now = clock.instant();
        logged.values().forEach((name, value) -> {
            if (!name.equals("step") && Double.isFinite(value) && waiting.size() < MOST_WAITING) {
                waiting.add(JSON.createObjectNode()
                        .put("key", name)
                        .put("value", value)
                        .put("timestamp", now.toEpochMilli())
                        .put("step", logged.step()));
            }
        });
        if (Duration.between(lastSend, now).compareTo(BETWEEN_SENDS) >= 0) {
            lastSend = now;
            sender.execute(this::send);
        }
    }

    /** On the thread of MLflow. */
    private void send() {
        List<ObjectNode> some = some();
        while (!some.isEmpty()) {
            ObjectNode batch = JSON.createObjectNode().put("run_id", runId);
            batch.set("metrics", JSON.createArrayNode().addAll(some));
            if (!told("runs/log-batch", batch)) {
                return;
            }
            sent(some.size());
            some = some();
        }
    }

    private synchronized List<ObjectNode> some() {
        return List.copyOf(waiting.subList(0, Math.min(METRICS_A_CALL, waiting.size())));
    }

    private synchronized void sent(int count) {
        waiting.subList(0, count).clear();
    }

    private boolean told(String endpoint, ObjectNode body) {
        try {
            tracking.post(endpoint, body);
            return true;
        } catch (LaunchException e) {
            if (!warned) {
                LOG.warn("the run goes on without MLflow for now: {}", e.getMessage());
                warned = true;
            }
            return false;
        }
    }

    @Override
    public void end(RunRecord.Ending ending) {
        synchronized (this) {
            if (ended) {
                return;
            }
            ended = true;
        }
        sender.execute(() -> {
            send();
            told(
                    "runs/update",
                    JSON.createObjectNode()
                            .put("run_id", runId)
                            .put("status", ending == RunRecord.Ending.DONE ? "FINISHED" : "FAILED")
                            .put("end_time", clock.millis()));
        });
        sender.shutdown();
        try {
            if (!sender.awaitTermination(LAST_WORDS.toSeconds(), TimeUnit.SECONDS)) {
                LOG.warn("MLflow at {} was not told how the run ended within {} s", tracking, LAST_WORDS.toSeconds());
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
