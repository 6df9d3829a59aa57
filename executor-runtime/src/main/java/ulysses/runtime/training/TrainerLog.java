package ulysses.runtime.training;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import ulysses.runtime.mesh.EvaluationSet;
import ulysses.runtime.weights.Folder;

/**
 * The files that LLaMA-Factory's users look for in {@code output_dir}, on any Hadoop file system: {@code trainer_log.jsonl}, {@code
 * trainer_state.json}, {@code train_results.json}, {@code eval_results.json} and {@code all_results.json}. Names and meanings are
 * those of transformers 5 and LLaMA-Factory 0.9.5; numbers are not rounded where theirs are not. Used by one thread of rank 0.
 */
public final class TrainerLog {
    /** One line a logging step. */
    public static final String LOG = "trainer_log.jsonl";

    /** All logged numbers. */
    public static final String STATE = "trainer_state.json";

    /** What {@code trainer_log.jsonl} calls accuracy. */
    private static final String ACCURACIES = "rewards/accuracies";

    private static final Duration BETWEEN_WRITES =
            Duration.ofSeconds(10); // S3 has no append: each write sends the file

    /** Begins the names of numbers that tell how often a gradient strategy acted. */
    static final String FIRED = "fired/";

    private final Folder output;
    private final TrainerRun run;
    private final Clock clock;
    private final StringBuilder unwritten = new StringBuilder();
    private Map<String, Double> alongside = Map.of();
    private TrainerProgress progress;
    private ArrayNode history;
    private Instant start;
    private Instant lastWrite;

    /**
     * One optimizer step.
     *
     * @param step optimizer steps done, from 1
     * @param epoch passes over the data done, fractional
     * @param loss mean over the terms of the step (trained tokens, or pairs), all ranks together
     * @param metrics what was measured beside it, means over the same terms
     * @param terms how many they are
     * @param gradNorm before clipping
     * @param learningRate the one this step used
     * @param tokens tokens of this step, all ranks together
     */
    public record Step(
            long step,
            double epoch,
            double loss,
            Map<String, Double> metrics,
            long terms,
            double gradNorm,
            double learningRate,
            long tokens) {
        public Step {
            metrics = Map.copyOf(metrics);
        }

        /** A step with nothing measured beside its loss. */
        public Step(long step, double epoch, double loss, double gradNorm, double learningRate, long tokens) {
            this(step, epoch, loss, Map.of(), 1, gradNorm, learningRate, tokens);
        }
    }

    /**
     * One evaluation.
     *
     * @param name begins the names of its numbers
     * @param loss as it is reported
     * @param metrics what was measured beside it
     * @param seconds it took
     * @param rows rows evaluated
     * @param batches micro-batches of all data-parallel groups
     */
    public record Evaluation(
            String name, double loss, Map<String, Double> metrics, double seconds, long rows, long batches) {
        public Evaluation {
            metrics = Map.copyOf(metrics);
        }
    }

    private TrainerLog(Folder output, TrainerRun run, Clock clock, TrainerProgress progress, ArrayNode history) {
        this.output = output;
        this.run = run;
        this.clock = clock;
        this.progress = progress;
        this.history = history;
        this.lastWrite = clock.instant();
        this.start = lastWrite.minusMillis(Math.round(progress.seconds() * 1000));
    }

    /** The log of a run that begins; one of an earlier run in the same folder is deleted. */
    public static TrainerLog begin(Folder output, TrainerRun run, Clock clock) {
        output.delete(LOG);
        return new TrainerLog(output, run, clock, TrainerProgress.NONE, JsonNodeFactory.instance.arrayNode());
    }

    /**
     * The log of a run that continues from a checkpoint: what was logged after it is cut off.
     *
     * @param stateJson what {@link #save} returned for that checkpoint
     */
    public static TrainerLog resume(Folder output, TrainerRun run, Clock clock, String stateJson) {
        ObjectNode state = TrainerJson.parse(stateJson);
        TrainerProgress progress = TrainerProgress.read(state);
        TrainerLog log = new TrainerLog(output, run, clock, progress, state.withArray("log_history"));
        if (output.has(LOG)) {
            byte[] kept = TrainerJson.linesUpTo(output.readText(LOG), progress.step());
            output.write(LOG, kept);
        }
        return log;
    }

    /** Numbers that the next log entry holds besides those of its step. */
    void alongside(Map<String, Double> values) {
        alongside = values;
    }

    /**
     * Notes a step; every {@code logging_steps} the means since the last log are logged.
     *
     * @return what was logged, by name; nothing between logging steps
     */
    public Map<String, Double> step(Step step) {
        progress = progress.after(step);
        if (step.step() % run.loggingSteps() != 0) {
            return Map.of();
        }
        ObjectNode entry = JsonNodeFactory.instance.objectNode();
        entry.put("epoch", step.epoch());
        entry.put("grad_norm", step.gradNorm());
        entry.put("learning_rate", step.learningRate());
        entry.put("loss", progress.meanSinceLog());
        progress.metricsSinceLog().forEach(entry::put);
        alongside.forEach(entry::put);
        OptionalDouble spike = LossSpike.in(history, progress.meanSinceLog());
        spike.ifPresent(times -> entry.put(LossSpike.NAME, times));
        entry.put("step", step.step());
        history.add(entry);
        progress = progress.logged();
        ObjectNode line = lineStart();
        line.set("loss", entry.get("loss"));
        if (entry.has(ACCURACIES)) {
            line.set("accuracy", entry.get(ACCURACIES));
        }
        line.put("lr", step.learningRate());
        spike.ifPresent(times -> line.put(LossSpike.NAME, times));
        addAlongside(line);
        append(lineEnd(line));
        return TrainerJson.numbers(entry);
    }

    /** In {@code trainer_log.jsonl} strategies are listed by name. */
    private void addAlongside(ObjectNode line) {
        if (alongside.isEmpty()) {
            return;
        }
        ArrayNode fired = JsonNodeFactory.instance.arrayNode();
        alongside.forEach((name, value) -> {
            if (!name.startsWith(FIRED)) {
                line.put(name, value);
            } else if (value > 0) {
                fired.add(name.substring(FIRED.length()));
            }
        });
        line.set("fired", fired);
        alongside = Map.of();
    }

    /** Notes an evaluation after the last step; returns what was logged, by name. */
    public Map<String, Double> evaluated(Evaluation evaluation) {
        ObjectNode entry = evaluationEntry(evaluation);
        entry.put("step", progress.step());
        history.add(entry);
        ObjectNode line = lineStart();
        line.put(evaluation.name() + "_loss", evaluation.loss());
        append(lineEnd(line));
        return TrainerJson.numbers(entry);
    }

    private ObjectNode evaluationEntry(Evaluation evaluation) {
        ObjectNode entry = JsonNodeFactory.instance.objectNode();
        entry.put("epoch", progress.epoch());
        String prefix = evaluation.name() + "_";
        entry.put(prefix + "loss", evaluation.loss());
        evaluation.metrics().forEach((name, value) -> entry.put(prefix + name, value));
        entry.put(prefix + "runtime", TrainerJson.round(evaluation.seconds(), 4));
        entry.put(prefix + "samples_per_second", TrainerJson.rate(evaluation.rows(), evaluation.seconds()));
        entry.put(prefix + "steps_per_second", TrainerJson.rate(evaluation.batches(), evaluation.seconds()));
        return entry;
    }

    private ObjectNode lineStart() {
        ObjectNode line = JsonNodeFactory.instance.objectNode();
        line.put("current_steps", progress.step());
        line.put("total_steps", run.totalSteps());
        return line;
    }

    private ObjectNode lineEnd(ObjectNode line) {
        double seconds = seconds();
        long done = progress.step();
        double remaining = done == 0 ? 0 : (run.totalSteps() - done) * seconds / done;
        line.put("epoch", progress.epoch());
        line.put("percentage", run.totalSteps() == 0 ? 100 : TrainerJson.round(100.0 * done / run.totalSteps(), 2));
        line.put("elapsed_time", TrainerJson.time(seconds));
        line.put("remaining_time", TrainerJson.time(remaining));
        line.put("throughput", seconds == 0 ? 0 : TrainerJson.round(progress.tokens() / seconds, 2));
        line.put("total_tokens", progress.tokens());
        return line;
    }

    private double seconds() {
        return Duration.between(start, clock.instant()).toMillis() / 1000.0;
    }

    private void append(ObjectNode line) {
        unwritten.append(TrainerJson.line(line)).append('\n');
        if (Duration.between(lastWrite, clock.instant()).compareTo(BETWEEN_WRITES) >= 0) {
            writeLines();
        }
    }

    private void writeLines() {
        if (!unwritten.isEmpty()) {
            output.append(LOG, TrainerJson.bytes(unwritten.toString()));
            unwritten.setLength(0);
        }
        lastWrite = clock.instant();
    }

    /** Writes everything noted so far, and returns {@code trainer_state.json} for a checkpoint. */
    public String save() {
        writeLines();
        ObjectNode state = run.state(progress);
        state.set("log_history", history);
        progress.at(seconds()).write(state);
        String json = TrainerJson.pretty(state, 2) + "\n";
        output.write(STATE, TrainerJson.bytes(json));
        return json;
    }

    /**
     * Notes the end of training and writes the results.
     *
     * @param rows rows trained on, all epochs and ranks together
     */
    public void finish(long rows) {
        double seconds = seconds();
        ObjectNode results = JsonNodeFactory.instance.objectNode();
        results.put("epoch", progress.epoch());
        results.put("num_input_tokens_seen", progress.tokens());
        results.put("total_flos", run.operations(progress.tokens()));
        results.put("train_loss", progress.meanLoss());
        results.put("train_runtime", TrainerJson.round(seconds, 4));
        results.put("train_samples_per_second", TrainerJson.rate(rows, seconds));
        results.put("train_steps_per_second", TrainerJson.rate(progress.step(), seconds));
        ObjectNode entry = results.deepCopy();
        entry.put("step", progress.step());
        history.add(entry);
        append(lineEnd(lineStart()));
        save();
        writeResults("train_results.json", results);
    }

    /**
     * Writes the results of the evaluations at the end, one of each set; as in LLaMA-Factory they are in no log, which ends with the
     * training.
     */
    public void finalEvaluations(List<Evaluation> evaluations) {
        ObjectNode results = JsonNodeFactory.instance.objectNode();
        for (Evaluation evaluation : evaluations) {
            results.setAll(evaluationEntry(evaluation));
            if (run.perplexity()) {
                boolean all = evaluation.name().equals(EvaluationSet.ALL);
                results.put(all ? "perplexity" : evaluation.name() + "_perplexity", Math.exp(evaluation.loss()));
            }
        }
        writeResults("eval_results.json", results);
    }

    /** {@code all_results.json} holds the results of training and of evaluation. */
    private void writeResults(String file, ObjectNode results) {
        output.write(file, TrainerJson.bytes(TrainerJson.pretty(results, 4)));
        String all = "all_results.json";
        ObjectNode together = output.has(all) ? TrainerJson.parse(output.readText(all)) : results.deepCopy();
        together.setAll(results);
        output.write(all, TrainerJson.bytes(TrainerJson.pretty(together, 4)));
    }
}
