package ulysses.runtime.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.attention.SequenceLayout;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.Collectives.Operation;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Segment;
import ulysses.runtime.weights.ModelSpec;

/**
 * The bytes that {@link Collectives} counts over forward and backward of a layer, against the formula of numerics.md, section 2
 * (DeepSpeed-Ulysses, arXiv:2309.14509, section 3.2): q, k, v and o in forward, their gradients in backward, and q, k, v and o once
 * more where something is computed again. In units of {@code u = S N H / P} elements a rank, q and o count 1 each, k and v K/N each;
 * where kv heads are copied, K is the number of kv heads that all ranks hold together, and uneven heads are counted as they are.
 */
final class LayerTrafficTest {

    private static final int TOKENS = 24; // S
    private static final int SIZE = 8; // H
    private static final int LAYERS = 2;
    private static final List<ActivationMemory> KEPT =
            List.of(ActivationMemory.FULL, ActivationMemory.ATTENTION, ActivationMemory.NONE);
    private static final List<String> TABLE = new ArrayList<>();

    @ParameterizedTest(name = "heads {0}/{1}, P = {2}")
    @CsvSource({
        "8,8,2", "8,8,4", "8,2,2", "8,2,4", "8,1,4", "6,2,2", "6,2,3", "6,2,4", "7,1,2", "7,1,3", "14,2,4", "28,4,4",
        "8,8,1"
    })
    void layersMoveWhatTheFormulaSays(int heads, int kvHeads, int ranks) {
        ModelSpec spec = SmallModels.spec("llama", heads, kvHeads, "");
        for (ActivationMemory memory : KEPT) {
            List<long[]> counted = RankThreads.run(ranks, groups -> measure(spec, memory, groups.sequenceParallel()));

            long total = 0;
            for (int rank = 0; rank < ranks; rank++) {
                long expected = LAYERS * bytes(heads, kvHeads, ranks, rank, memory);
                assertThat(counted.get(rank)[0])
                        .as("bytes of rank %d, keeping %s", rank, memory)
                        .isEqualTo(ranks == 1 ? 0 : expected);
                total += counted.get(rank)[0];
            }
            int held = IntStream.range(0, ranks)
                    .map(r -> kvs(heads, kvHeads, ranks, r))
                    .sum();
            boolean again = !memory.equals(ActivationMemory.FULL);
            long passes = again ? 3 : 2;
            long formula = LAYERS * passes * TOKENS * SIZE * (2L * heads + 2L * held) * Float.BYTES; // over all ranks
            if (ranks > 1) {
                assertThat(total).as("bytes of all ranks").isEqualTo(formula);
                TABLE.add(String.format(
                        Locale.ROOT,
                        "| (%d,%d) | %d | %d | %s | %d | %d | %.2f |",
                        heads,
                        kvHeads,
                        ranks,
                        held,
                        memory,
                        total,
                        formula,
                        (double) total / formula));
            }
        }
    }

    /** What rank {@code rank} puts into the all-to-alls of one layer, its own part included. */
    private static long bytes(int heads, int kvHeads, int ranks, int rank, ActivationMemory memory) {
        int part = TOKENS / ranks;
        int n = queries(heads, ranks, rank);
        int k = kvs(heads, kvHeads, ranks, rank);
        int allSent = heads
                + 2
                        * IntStream.range(0, ranks)
                                .map(r -> kvs(heads, kvHeads, ranks, r))
                                .sum();
        long qkv = (long) part * allSent; // [s, N + 2 sum of k, H]
        long output = (long) TOKENS * n; // [S,n,H]
        long dOutput = (long) part * heads; // [s,N,H]
        long dQkv = (long) TOKENS * (n + 2 * k); // [S, n + 2k, H]
        return (qkv + output + dOutput + dQkv + (memory.equals(ActivationMemory.FULL) ? 0 : qkv + output))
                * SIZE
                * Float.BYTES;
    }

    private static int queries(int heads, int ranks, int rank) {
        return heads / ranks + (rank < heads % ranks ? 1 : 0);
    }

    /** Kv heads that the query heads of {@code rank} read: head j reads floor(j K / N). */
    private static int kvs(int heads, int kvHeads, int ranks, int rank) {
        int first = IntStream.range(0, rank).map(r -> queries(heads, ranks, r)).sum();
        return (int) IntStream.range(first, first + queries(heads, ranks, rank))
                .map(j -> j * kvHeads / heads)
                .distinct()
                .count();
    }

    /** Bytes of all-to-all and bytes of anything else, over forward and backward of all layers. */
    private static long[] measure(ModelSpec spec, ActivationMemory memory, Collectives group) {
        try (Parameters parameters = SmallModels.parameters(spec, ComputeType.FLOAT32);
                TensorScope scope = TensorScope.open()) {
            CausalLm model =
                    new CausalLm(spec, parameters, new CausalLm.Layers(ParallelConfig.Device.CPU, memory), group);
            int part = TOKENS / group.size();
            int[] positions = IntStream.range(group.rank() * part, (group.rank() + 1) * part)
                    .toArray();
            Segment layers = model.on(new SequenceLayout(new int[] {0, TOKENS}), positions);
            Tensor x = torch.randn(part, spec.hiddenSize());
            try (Segment.Pass pass = layers.forward(x)) {
                pass.backward(torch.randn(part, spec.hiddenSize()));
            }
            assertThat(group.bytesSent(Operation.ALL_REDUCE)
                            + group.bytesSent(Operation.ALL_GATHER)
                            + group.bytesSent(Operation.REDUCE_SCATTER)
                            + group.bytesSent(Operation.BROADCAST))
                    .isZero();
            return new long[] {group.traffic().total(Operation.ALL_TO_ALL)};
        }
    }

    /** The table of executor-runtime/README.md. */
    @AfterAll
    static void writeTable() throws IOException {
        List<String> lines = new ArrayList<>(List.of(
                "| (heads, kv heads) | P | kv heads held | kept | bytes counted | bytes of the formula | ratio |",
                "|--|--|--|--|--|--|--|"));
        lines.addAll(TABLE);
        Files.createDirectories(Path.of("target"));
        Files.write(Path.of("target", "layer-traffic.md"), lines);
    }
}
