package ulysses.driver.report;

import com.codahale.metrics.Gauge;
import com.codahale.metrics.MetricRegistry;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.ToDoubleFunction;
import org.apache.spark.SparkEnv;
import org.apache.spark.metrics.source.Source;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.mesh.RankEvent;

/**
 * A run as metrics of the Spark driver, named {@code ulysses.*}: whatever sink the cluster has (Prometheus, JMX, Graphite, CSV) gets them
 * with Spark's own. A metric is 0 before it was first measured.
 */
final class SparkMetrics implements RunFollower, Source {
    private final MetricRegistry registry = new MetricRegistry();
    private final AtomicReference<State> state = new AtomicReference<>(new State(null, null, 0, 0, 0, 0, 0));

    /**
     * What was last heard.
     *
     * @param step of training
     * @param parts where the time of the step went
     * @param evalLoss of the last evaluation
     * @param attempts begun
     * @param warnings said
     * @param savedStep of the last checkpoint
     * @param savedMillis when that was heard, since 1970
     */
    private record State(
            RankEvent.@Nullable Step step,
            RankEvent.@Nullable Measured parts,
            double evalLoss,
            long attempts,
            long warnings,
            long savedStep,
            long savedMillis) {

        State heard(RankEvent event, long nowMillis) {
            if (event instanceof RankEvent.Step it) {
                return new State(it, parts, evalLoss, attempts, warnings, savedStep, savedMillis);
            } else if (event instanceof RankEvent.Measured it) {
                return new State(step, it, evalLoss, attempts, warnings, savedStep, savedMillis);
            } else if (event instanceof RankEvent.Evaluated it) {
                return new State(step, parts, it.loss(), attempts, warnings, savedStep, savedMillis);
            } else if (event instanceof RankEvent.Saved it) {
                return new State(step, parts, evalLoss, attempts, warnings, it.step(), nowMillis);
            } else if (event instanceof RankEvent.Warning) {
                return new State(step, parts, evalLoss, attempts, warnings + 1, savedStep, savedMillis);
            } else if (event instanceof RankEvent.Phase it
                    && it.rank() == 0
                    && it.phase().equals("load")) {
                return new State(step, parts, evalLoss, attempts + 1, warnings, savedStep, savedMillis);
            }
            return this;
        }
    }

    private SparkMetrics() {}

    /** Registers with the metrics system of this driver; empty where no Spark runs. */
    static Optional<SparkMetrics> register() {
        if (SparkEnv.get() == null) {
            return Optional.empty();
        }
        SparkMetrics metrics = new SparkMetrics();
        metrics.ofStep("step", RankEvent.Step::step);
        metrics.ofStep("total_steps", RankEvent.Step::totalSteps);
        metrics.ofStep("epoch", RankEvent.Step::epoch);
        metrics.ofStep("loss", RankEvent.Step::loss);
        metrics.ofStep("grad_norm", RankEvent.Step::gradNorm);
        metrics.ofStep("learning_rate", RankEvent.Step::learningRate);
        metrics.ofStep("tokens_per_second", step -> step.tokens() / step.seconds());
        metrics.ofStep("step_seconds", RankEvent.Step::seconds);
        metrics.ofStep("peak_memory_bytes_rank_0", RankEvent.Step::peakBytes);
        metrics.ofParts("compute_seconds", RankEvent.Measured::computeSeconds);
        metrics.ofParts("reduce_seconds", RankEvent.Measured::reduceSeconds);
        metrics.ofParts("optimizer_seconds", RankEvent.Measured::optimizerSeconds);
        metrics.ofParts("wait_share", RankEvent.Measured::waitShare);
        metrics.ofParts("exchange_bytes_rank_0", RankEvent.Measured::exchangeBytes);
        metrics.gauge("eval_loss", State::evalLoss);
        metrics.gauge("attempts", State::attempts);
        metrics.gauge("warnings", State::warnings);
        metrics.gauge("checkpoint_step", State::savedStep);
        metrics.gauge(
                "checkpoint_age_seconds",
                it -> it.savedMillis() == 0 ? 0 : (System.currentTimeMillis() - it.savedMillis()) / 1e3);
        SparkEnv.get().metricsSystem().registerSource(metrics);
        return Optional.of(metrics);
    }

    private void ofStep(String name, ToDoubleFunction<RankEvent.Step> value) {
        gauge(name, it -> it.step() == null ? 0 : value.applyAsDouble(it.step()));
    }

    private void ofParts(String name, ToDoubleFunction<RankEvent.Measured> value) {
        gauge(name, it -> it.parts() == null ? 0 : value.applyAsDouble(it.parts()));
    }

    private void gauge(String name, ToDoubleFunction<State> value) {
        Gauge<Double> gauge = () -> value.applyAsDouble(state.get());
        registry.register(name, gauge);
    }

    @Override
    public String sourceName() {
        return "ulysses";
    }

    @Override
    public MetricRegistry metricRegistry() {
        return registry;
    }

    @Override
    public void accept(RankEvent event) {
        state.updateAndGet(it -> it.heard(event, System.currentTimeMillis()));
    }

    @Override
    public void end(RunRecord.Ending ending) {
        SparkEnv.get().metricsSystem().removeSource(this); // a session may run another one
    }
}
