package ulysses.driver.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.OptionalInt;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.IntSupplier;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.driver.launch.Runs;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.ModelSpec;

class PreflightTest {
    private final AtomicLong clock = new AtomicLong();
    private final List<String> said = new ArrayList<>();

    @TempDir
    private Path output;

    private final SparkConf conf = new SparkConf(false).set("spark.master", "spark://host:7077");

    @Test
    void aReferenceOfAnotherVocabularyOrWithTooFewHeadsIsRefused() {
        ConfigException refusal = refusal(
                preflight(parallel(8, 8, Device.CPU), slots(8)).heads(8, 2).reference(SmallRun.model(), 64));

        assertThat(refusal.problems())
                .containsExactly(
                        "ref_model's vocab_size 32 is not that of model_name_or_path, 64; name a model with the same tokenizer",
                        "sequence_parallel_size 8 is more than num_attention_heads 4 of ref_model; use at most 4");
    }

    @Test
    void sparseAttentionIsRefusedOnGpus() {
        ModelSpec sinks = SmallRun.model().withAttention(new TrainingConfig.Attention(8, 2, List.of()));
        conf.set("spark.task.resource.gpu.amount", "1").set("spark.executor.resource.gpu.amount", "1");

        ConfigException refusal =
                refusal(preflight(parallel(1, 1, Device.CUDA), slots(1)).attention(sinks));

        assertThat(refusal.problems())
                .contains("device cuda has no kernel for this attention; " + AttentionPattern.CPU_ONLY);
    }

    @Test
    void reportsAllProblemsTogetherEachWithItsFix() {
        conf.set("spark.dynamicAllocation.enabled", "true").set("spark.speculation", "true");

        ConfigException refusal = refusal(
                preflight(parallel(4, 4, Device.CPU), slots(8)).heads(3, 1).vocabulary(32_000, 32_000));

        assertThat(refusal.problems())
                .containsExactly(
                        "sequence_parallel_size 4 is more than num_attention_heads 3, and every rank needs a head; use at"
                                + " most 3",
                        "tokenizer's largest token id 32000 does not fit the model's vocab_size 32000; use the tokenizer that"
                                + " came with the model",
                        "spark.dynamicAllocation.enabled is true, but ranks start together, which Spark refuses with a moving"
                                + " number of executors; set --conf spark.dynamicAllocation.enabled=false",
                        "spark.speculation is true, but a second copy of a rank would train into the same run; set --conf"
                                + " spark.speculation=false");
    }

    @Test
    void waitsForExecutorsThatRegisterLate() throws InterruptedException {
        Preflight.Cleared cleared =
                preflight(parallel(4, 2, Device.CPU), slots(0, 0, 2, 4)).check().slots();

        assertThat(cleared.mesh()).isEqualTo(new RankMesh(4, 2));
    }

    @Test
    void refusesMoreRanksThanSlotsAfterTheDeadline() {
        ConfigException refusal = refusal(preflight(parallel(4, 2, Device.CPU), slots(3)));

        assertThat(refusal.problems())
                .containsExactly(
                        "num_ranks 4 is more than the cluster offers: 3 free task slots after 30 s (rendezvous_timeout); start"
                                + " more executors (--num-executors 4, one rank each), or lower num_ranks or"
                                + " sequence_parallel_size");
        assertThat(clock.get()).isGreaterThanOrEqualTo(30_000_000_000L);
        assertThat(said)
                .as("one line when the wait is long, not one a look")
                .containsExactly("waiting for executors: the cluster offers 3 of 4 slots for ranks; 25 s are left");
    }

    @Test
    void refusesRanksThatDoNotFillWholeGroups() {
        ConfigException refusal = refusal(preflight(parallel(6, 4, Device.CPU), slots(8)));

        assertThat(refusal.problems())
                .containsExactly("num_ranks 6 is not a multiple of sequence_parallel_size 4; use 4 or 8");
    }

    @ParameterizedTest(name = "{0} slots in groups of {1}: {2} ranks")
    @CsvSource({"1,1,1", "5,2,4", "8,4,8", "7,4,4"})
    void takesWhatTheClusterOffersInWholeGroups(int offered, int group, int ranks) throws InterruptedException {
        Preflight.Cleared cleared = preflight(parallel(0, group, Device.CPU), slots(0, 1, offered))
                .check()
                .slots();

        assertThat(cleared.mesh()).isEqualTo(new RankMesh(ranks, group));
        assertThat(cleared.notes())
                .contains("num_ranks: %d, from %d slots of the cluster in groups of sequence_parallel_size %d"
                        .formatted(ranks, offered, group));
    }

    @Test
    void refusesAClusterWithoutRoomForOneGroup() {
        ConfigException refusal = refusal(preflight(parallel(0, 4, Device.CPU), slots(3)));

        assertThat(refusal.problems())
                .singleElement()
                .asString()
                .startsWith("num_ranks 4 is more than the cluster offers: 3");
    }

    @ParameterizedTest
    @CsvSource({"spark.ssl.enabled", "spark.network.crypto.enabled", "spark.authenticate.enableSaslEncryption"})
    void refusesAnEncryptedClusterUnlessPlaintextIsAllowed(String key) throws InterruptedException {
        conf.set(key, "true");

        assertThat(refusal(preflight(parallel(2, 2, Device.CPU), slots(2))).problems())
                .singleElement()
                .asString()
                .startsWith(key + " is true, but what ranks send each other")
                .endsWith("set --conf spark.ulysses.network.allowPlaintext=true");

        conf.set("spark.ulysses.network.allowPlaintext", "true");
        assertThat(preflight(parallel(2, 2, Device.CPU), slots(2))
                        .check()
                        .slots()
                        .mesh())
                .isEqualTo(new RankMesh(2, 2));
    }

    @Test
    void refusesCudaWithoutGpusInSparksSettings() {
        assertThat(refusal(preflight(parallel(2, 2, Device.CUDA), slots(2))).problems())
                .singleElement()
                .asString()
                .startsWith("spark.executor.resource.gpu.amount is not set, but device is cuda");

        conf.set("spark.master", "local[2]");
        assertThat(refusal(preflight(parallel(2, 2, Device.CUDA), slots(2))).problems())
                .singleElement()
                .asString()
                .startsWith("spark.master local[2] can't hand out GPUs");
    }

    @Test
    void refusesAnOutputFolderThatCantBeWritten() throws Exception {
        Path file = Files.createFile(output.resolve("taken"));
        TrainingConfig config = Runs.config(file, parallel(2, 2, Device.CPU));

        ConfigException refusal = refusal(new Preflight(conf, new Configuration(), config, slots(2)));

        assertThat(refusal.problems())
                .singleElement()
                .asString()
                .startsWith("output_dir " + file + " can't be written to");
    }

    @Test
    void leavesNothingInTheOutputFolder() throws Exception {
        preflight(parallel(2, 2, Device.CPU), slots(2)).check().slots();

        assertThat(output).isEmptyDirectory();
    }

    @Test
    void notesPaddingAndCopiedKvHeads() throws InterruptedException {
        Preflight.Cleared cleared = preflight(parallel(3, 3, Device.CPU), slots(3))
                .heads(6, 2)
                .check()
                .slots();

        assertThat(cleared.notes())
                .contains(
                        "cutoff_len 128 is not a multiple of sequence_parallel_size 3: every row gets 1 tokens of padding",
                        "num_key_value_heads 2 is not divisible by sequence_parallel_size 3: some kv heads are sent to more"
                                + " than one rank");
    }

    @Test
    void notesHeadsThatTheGroupDoesNotDivide() throws InterruptedException {
        Preflight.Cleared cleared = preflight(parallel(4, 4, Device.CPU), slots(4))
                .heads(14, 2)
                .check()
                .slots();

        assertThat(cleared.mesh()).isEqualTo(new RankMesh(4, 4));
        assertThat(cleared.notes())
                .contains(
                        "num_attention_heads 14 is not divisible by sequence_parallel_size 4: ranks get 3 or 4 heads, and"
                                + " the slowest ones set the pace");
    }

    @Test
    void aGroupMayHaveAsManyRanksAsHeads() throws InterruptedException {
        assertThat(preflight(parallel(4, 4, Device.CPU), slots(4))
                        .heads(4, 4)
                        .check()
                        .slots()
                        .notes())
                .noneMatch(note -> note.contains("heads"));
    }

    @Test
    void refusesToReplaceAFinishedRunUnasked() throws Exception {
        Files.createFile(output.resolve("model.safetensors"));

        ConfigException refusal = refusal(preflight(parallel(2, 2, Device.CPU), slots(2)));

        assertThat(refusal.problems())
                .containsExactly(
                        "output_dir " + output + " holds model.safetensors of a finished run but no checkpoint to"
                                + " go on from; choose another folder, or set overwrite_output_dir: true to replace that run");
    }

    @Test
    void goesOnFromTheCheckpointOfAFinishedRun() throws Exception {
        Files.createFile(output.resolve("model.safetensors"));
        Files.createDirectory(output.resolve("checkpoint-5"));
        assertThat(refusal(preflight(parallel(2, 2, Device.CPU), slots(2))).problems())
                .as("an unfinished checkpoint")
                .hasSize(1);

        Files.createFile(output.resolve("checkpoint-5/MANIFEST.json"));

        assertThat(preflight(parallel(2, 2, Device.CPU), slots(2))
                        .check()
                        .slots()
                        .mesh())
                .isEqualTo(new RankMesh(2, 2));
    }

    @ParameterizedTest(name = "overwrite {0}, resume from {1}")
    @CsvSource({"true,", "false,false", "false,elsewhere/checkpoint-9"})
    void trainsWhereARunFinishedWhenToldTo(boolean overwrite, String resume) throws Exception {
        Files.createFile(output.resolve("model.safetensors"));
        TrainingConfig config = Runs.config(output, parallel(2, 2, Device.CPU));
        TrainingConfig.Output plain = config.output();
        TrainingConfig told = new TrainingConfig(
                config.model(),
                config.data(),
                config.tuning(),
                config.step(),
                config.evaluation(),
                config.parallel(),
                new TrainingConfig.Output(
                        plain.outputDir(),
                        overwrite,
                        plain.loggingSteps(),
                        plain.saveStrategy(),
                        plain.saveSteps(),
                        plain.saveTotalLimit(),
                        plain.saveOnlyModel(),
                        resume,
                        plain.checkpointDirectory(),
                        plain.plotLoss(),
                        plain.maxShardBytes(),
                        plain.reporting(),
                        plain.day()),
                config.preference());

        assertThat(new Preflight(conf, new Configuration(), told, slots(2))
                        .check()
                        .slots()
                        .mesh())
                .isEqualTo(new RankMesh(2, 2));
    }

    @ParameterizedTest(name = "{0}, {1} executors of {2} cores, {3} cores a rank")
    @CsvSource({"'local-cluster[2,1,1024]',,,1,2", "'local-cluster[3,4,1024]',,,2,6", "yarn,4,8,8,4", "yarn,4,,1,"})
    void knowsHowManySlotsTheSettingsAskFor(
            String master, Integer executors, Integer cores, int perRank, Integer expected) {
        SparkConf asked =
                new SparkConf(false).set("spark.master", master).set("spark.ulysses.rank.cores", "" + perRank);
        if (executors != null) {
            asked.set("spark.executor.instances", "" + executors);
        }
        if (cores != null) {
            asked.set("spark.executor.cores", "" + cores);
        }

        assertThat(ClusterSlots.expected(asked))
                .isEqualTo(expected == null ? OptionalInt.empty() : OptionalInt.of(expected));
    }

    private Preflight preflight(ParallelConfig parallel, ClusterSlots slots) {
        return new Preflight(conf, new Configuration(), Runs.config(output, parallel), slots);
    }

    private static ParallelConfig parallel(int ranks, int group, Device device) {
        return new ParallelConfig(ranks, group, device, 30, 30, 3, 2, false, 60, 0, false, false, true);
    }

    /** Offers these numbers one after the other, then the last one for ever; time passes with each look. */
    private ClusterSlots slots(int... offers) {
        Iterator<Integer> next = Arrays.stream(offers).iterator();
        int last = offers[offers.length - 1];
        IntSupplier offered = () -> next.hasNext() ? next.next() : last;
        return new ClusterSlots(
                offered, OptionalInt.empty(), clock::get, () -> clock.addAndGet(500_000_000), said::add);
    }

    private static ConfigException refusal(Preflight preflight) {
        return catchThrowableOfType(
                ConfigException.class, () -> preflight.check().slots());
    }
}
