package ulysses.driver.report;

import com.codahale.metrics.Gauge;
import com.codahale.metrics.MetricRegistry;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.DoubleSupplier;
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

    private volatile RankEvent.@Nullable Step step;
    private volatile RankEvent.@Nullable Measured parts;
    private volatile double evalLoss;
    private volatile long attempts;
    private volatile long warnings;
    private volatile long savedStep;
    /** When the last checkpoint was heard of, since 1970; 0 before the first. */
    private volatile long savedMillis;
    /** Ranks of the newest attempt, which may be fewer than those before. */
    private volatile int ranks;

    private int placedAttempt;

    private SparkMetrics() {}

    /**
     * Registers with the metrics system of this driver; empty where no Spark runs.
     *
     * @param peakOfRank operations a second that a rank's device could do; empty when nobody told, and then there is no {@code mfu}
     */
    static Optional<SparkMetrics> register(OptionalDouble peakOfRank) {
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
        metrics.gauge("useful_tflop_per_second_per_rank", () -> metrics.operationsPerSecond() / 1e12);
        peakOfRank.ifPresent(peak -> metrics.gauge("mfu", () -> metrics.operationsPerSecond() / peak));
        metrics.gauge("eval_loss", () -> metrics.evalLoss);
        metrics.gauge("attempts", () -> metrics.attempts);
        metrics.gauge("warnings", () -> metrics.warnings);
        metrics.gauge("checkpoint_step", () -> metrics.savedStep);
        metrics.gauge("checkpoint_age_seconds", metrics::checkpointAge);
        SparkEnv.get().metricsSystem().registerSource(metrics);
        return Optional.of(metrics);
    }

    private void ofStep(String name, ToDoubleFunction<RankEvent.Step> value) {
        gauge(name, () -> {
            RankEvent.Step newest = step;
            return newest == null ? 0 : value.applyAsDouble(newest);
        });
    }

    private void ofParts(String name, ToDoubleFunction<RankEvent.Measured> value) {
        gauge(name, () -> {
            RankEvent.Measured newest = parts;
            return newest == null ? 0 : value.applyAsDouble(newest);
        });
    }

    private void gauge(String name, DoubleSupplier value) {
        Gauge<Double> gauge = value::getAsDouble;
        registry.register(name, gauge);
    }

    /** Operations that training needed in a second of the newest step, a rank's share. */
    private double operationsPerSecond() {
        RankEvent.Measured newest = parts;
        if (newest == null || ranks == 0) {
            return 0;
        }
        double seconds = newest.computeSeconds() + newest.reduceSeconds() + newest.optimizerSeconds();
        return newest.operations() / seconds / ranks;
    }

    private double checkpointAge() {
        return savedMillis == 0 ? 0 : (System.currentTimeMillis() - savedMillis) / 1e3;
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
    public synchronized void accept(RankEvent event) {
        if (event instanceof RankEvent.Step it) {
            step = it;
        } else if (event instanceof RankEvent.Measured it) {
            parts = it;
        } else if (event instanceof RankEvent.Evaluated it) {
            evalLoss = it.loss();
        } else if (event instanceof RankEvent.Saved it) {
            savedStep = it.step();
            savedMillis = System.currentTimeMillis();
        } else if (event instanceof RankEvent.Warning) {
            warnings++;
        } else if (event instanceof RankEvent.Placed it) {
            ranks = it.attempt() == placedAttempt ? ranks + 1 : 1;
            placedAttempt = it.attempt();
        } else if (event instanceof RankEvent.Phase it
                && it.rank() == 0
                && it.phase().equals("load")) {
            attempts++;
        }
    }

    @Override
    public void end(RunRecord.Ending ending) {
        SparkEnv.get().metricsSystem().removeSource(this); // a session may run another one
    }
}
