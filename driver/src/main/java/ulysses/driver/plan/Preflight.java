package ulysses.driver.plan;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.IntSupplier;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import ulysses.driver.launch.BarrierLaunch;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelSpec;

/**
 * Everything that can be refused before a rank starts: all problems at once, each with its fix. Also settles how many ranks there are
 * when the user left that to the cluster.
 */
public final class Preflight {
    private final SparkConf conf;
    private final Configuration hadoop;
    private final TrainingConfig config;
    private final ClusterSlots slots;
    private final List<Problem> problems = new ArrayList<>();
    private final List<String> notes = new ArrayList<>();

    Preflight(SparkConf conf, Configuration hadoop, TrainingConfig config, ClusterSlots slots) {
        this.conf = conf;
        this.hadoop = hadoop;
        this.config = config;
        this.slots = slots;
    }

    /** For a run of {@code config} on the cluster of {@code spark}; {@code progress} takes a line while executors are waited for. */
    public static Preflight of(JavaSparkContext spark, TrainingConfig config, Consumer<String> progress) {
        IntSupplier offered = new BarrierLaunch(spark, config.parallel().device())::slots;
        SparkConf conf = spark.getConf();
        return new Preflight(conf, spark.hadoopConfiguration(), config, ClusterSlots.of(conf, offered, progress));
    }

    /**
     * The run may start.
     *
     * @param mesh how many ranks, in which groups
     * @param notes what the user should know, one sentence each
     */
    public record Cleared(RankMesh mesh, List<String> notes) {
        public Cleared {
            notes = List.copyOf(notes);
        }
    }

    /**
     * Checks whether heads can be split over a sequence-parallel group: any group works that gives every rank a query head.
     *
     * @param heads query heads of the model
     * @param kvHeads its key and value heads; any number works, they are copied where the group does not divide them
     */
    public Preflight heads(int heads, int kvHeads) {
        int group = config.parallel().sequenceParallelSize();
        if (group > heads) {
            problems.add(new Problem(
                    "sequence_parallel_size",
                    Integer.toString(group),
                    "is more than num_attention_heads " + heads + ", and every rank needs a head",
                    "use at most " + heads));
            return this;
        }
        if (heads % group != 0) {
            notes.add(
                    ("num_attention_heads %d is not divisible by sequence_parallel_size %d: ranks get %d or %d heads, and the"
                                    + " slowest ones set the pace")
                            .formatted(heads, group, heads / group, (heads + group - 1) / group));
        }
        if (kvHeads % group != 0) {
            notes.add(
                    ("num_key_value_heads %d is not divisible by sequence_parallel_size %d: some kv heads are sent to more than"
                                    + " one rank")
                            .formatted(kvHeads, group));
        }
        return this;
    }

    /** Checks whether the device has kernels for what the queries of {@code model} see. */
    public Preflight attention(ModelSpec model) {
        boolean sparse = !model.patterns().stream().allMatch(AttentionPattern::isPlainWindow);
        if (sparse && config.parallel().device() == ParallelConfig.Device.CUDA) {
            problems.add(new Problem("device", "cuda", "has no kernel for this attention", AttentionPattern.CPU_ONLY));
        }
        return this;
    }

    /**
     * Checks whether the reference of preference training can be asked about the same tokens by the same ranks.
     *
     * @param reference {@code ref_model}
     * @param vocabulary rows of the trained model's embedding
     */
    public Preflight reference(ModelSpec reference, int vocabulary) {
        if (reference.vocabularySize() != vocabulary) {
            problems.add(new Problem(
                    "ref_model's vocab_size",
                    Integer.toString(reference.vocabularySize()),
                    "is not that of model_name_or_path, " + vocabulary,
                    "name a model with the same tokenizer"));
        }
        int group = config.parallel().sequenceParallelSize();
        if (group > reference.heads()) {
            problems.add(new Problem(
                    "sequence_parallel_size",
                    Integer.toString(group),
                    "is more than num_attention_heads %d of ref_model".formatted(reference.heads()),
                    "use at most " + reference.heads()));
        }
        return this;
    }

    /**
     * Checks whether tokenizer and model belong together.
     *
     * @param largestTokenId of the tokenizer, added tokens included
     * @param vocabulary rows of the model's embedding
     */
    public Preflight vocabulary(int largestTokenId, int vocabulary) {
        if (largestTokenId >= vocabulary) {
            problems.add(new Problem(
                    "tokenizer's largest token id",
                    Integer.toString(largestTokenId),
                    "does not fit the model's vocab_size " + vocabulary,
                    "use the tokenizer that came with the model"));
        }
        return this;
    }

    /**
     * Checks whether a rank fits its device.
     *
     * @param neededBytes estimate for one rank
     * @param availableBytes what the device or its container has
     */
    public Preflight memory(long neededBytes, long availableBytes) {
        if (neededBytes > availableBytes) {
            problems.add(new Problem(
                    "memory of a rank",
                    "%.1f GB (estimate)".formatted(neededBytes / 1e9),
                    "is more than the %.1f GB it has".formatted(availableBytes / 1e9),
                    "raise sequence_parallel_size, or lower cutoff_len or per_device_train_batch_size"));
        }
        return this;
    }

    /**
     * Checks settings and folders, and refuses what does not need a look at the cluster; called once, before {@link #slots}.
     *
     * @throws ConfigException with all problems
     */
    public Preflight check() {
        SparkSettings settings = new SparkSettings(conf, config.parallel().device());
        problems.addAll(settings.problems());
        notes.addAll(settings.notes());
        OutputProbe probe = new OutputProbe(hadoop);
        probe.probe("output_dir", config.output().outputDir()).ifPresent(problems::add);
        if (!config.output().checkpoints().equals(config.output().outputDir())) {
            probe.probe("checkpoint_dir", config.output().checkpoints()).ifPresent(problems::add);
        }
        if (problems.isEmpty()) {
            new EarlierRun(hadoop).problem(config.output()).ifPresent(problems::add);
            refuseModelAsOutput();
        }
        noteCutoff();
        refuseProblems();
        return this;
    }

    /**
     * Waits for executors, for {@code rendezvous_timeout} at most.
     *
     * @throws ConfigException when there are too few
     */
    public Cleared slots() throws InterruptedException {
        int ranks = ranks();
        refuseProblems();
        return new Cleared(new RankMesh(ranks, config.parallel().sequenceParallelSize()), notes);
    }

    private void refuseProblems() {
        if (!problems.isEmpty()) {
            throw new ConfigException(
                    "preflight", problems.stream().map(Problem::toString).toList());
        }
    }

    private void refuseModelAsOutput() {
        String output = config.output().outputDir();
        if (Folder.at(output, hadoop)
                .path()
                .equals(Folder.at(config.model().modelNameOrPath(), hadoop).path())) {
            problems.add(new Problem(
                    "output_dir",
                    output,
                    "is model_name_or_path, whose weights the run would replace",
                    "choose another folder"));
        }
    }

    private int ranks() throws InterruptedException {
        ParallelConfig parallel = config.parallel();
        Duration limit = Duration.ofSeconds(parallel.rendezvousSeconds());
        int group = parallel.sequenceParallelSize();
        if (parallel.ranks() > 0) {
            expectMultiple(parallel.ranks(), group);
            expectSlots(parallel.ranks(), slots.await(parallel.ranks(), limit));
            return parallel.ranks();
        }
        int offered = slots.awaitAll(limit);
        expectSlots(group, offered);
        int ranks = offered / group * group;
        notes.add("num_ranks: %d, from %d slots of the cluster in groups of sequence_parallel_size %d"
                .formatted(ranks, offered, group));
        return ranks;
    }

    private void expectMultiple(int ranks, int group) {
        if (ranks % group != 0) {
            int below = ranks / group * group;
            String use = below == 0 ? Integer.toString(group) : below + " or " + (below + group);
            problems.add(new Problem(
                    "num_ranks",
                    Integer.toString(ranks),
                    "is not a multiple of sequence_parallel_size " + group,
                    "use " + use));
        }
    }

    private void expectSlots(int wanted, int offered) {
        if (offered < wanted) {
            String unit = config.parallel().device() == ParallelConfig.Device.CUDA ? "free GPUs" : "free task slots";
            problems.add(new Problem(
                    "num_ranks",
                    Integer.toString(wanted),
                    "is more than the cluster offers: %d %s after %d s (rendezvous_timeout)"
                            .formatted(offered, unit, config.parallel().rendezvousSeconds()),
                    "start more executors (--num-executors %d, one rank each), or lower num_ranks or sequence_parallel_size"
                            .formatted(wanted)));
        }
    }

    private void noteCutoff() {
        int cutoff = config.data().cutoffLength();
        int group = config.parallel().sequenceParallelSize();
        if (cutoff % group != 0) {
            int padding = group - cutoff % group;
            notes.add(
                    "cutoff_len %d is not a multiple of sequence_parallel_size %d: every row gets %d tokens of padding"
                            .formatted(cutoff, group, padding));
        }
    }
}
