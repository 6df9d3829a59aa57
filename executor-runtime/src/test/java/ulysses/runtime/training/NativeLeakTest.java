package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.collective.ProcessGroups;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.memory.DeviceMemory;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.training.TrainingRank.How;

/**
 * Two hundred steps of two ranks hold memory level: resident bytes, native objects that Java still holds, open scopes, and heap. One
 * hidden state of a rank is 38 KiB, so that one forgotten tensor a step and rank would add 11 MiB after the warm-up, and 300 native objects.
 */
final class NativeLeakTest {

    private static final int STEPS = 200;
    private static final int WARM_UP = 50;
    private static final long RESIDENT_BOUND = 8L << 20;
    private static final long HEAP_BOUND = 8L << 20;
    private static final RankMesh MESH = new RankMesh(2, 2);
    private static final List<PackedRow> ROWS = SmallModels.rows(51, 8, 50);

    /** What is held at one moment, after a garbage collection. */
    private record Held(long resident, long natives, long heap, int scopes) {
        static Held now(ProcessGroups groups) {
            groups.world().barrier();
            System.gc();
            Runtime runtime = Runtime.getRuntime();
            Held held = new Held(
                    DeviceMemory.host().current(),
                    Pointer.totalCount(),
                    runtime.totalMemory() - runtime.freeMemory(),
                    TensorScope.openScopes());
            groups.world().barrier();
            return held;
        }
    }

    @ParameterizedTest(name = "checkpointing {0}")
    @ValueSource(booleans = {true, false})
    void manyStepsHoldMemoryLevel(boolean checkpointing) {
        How how = checkpointing ? How.PLAIN : How.PLAIN.withoutCheckpointing();
        RankThreads.forEachRank(MESH, groups -> {
            try (TrainingRank rank = TrainingRank.of(SmallModels.llama(), how, groups)) {
                StepBatches batches =
                        TrainingRank.batches(ROWS, MESH, groups.world().rank(), 1);
                assertThat(batches.microBatches().get(0).length()).isGreaterThan(600);

                run(rank, batches, WARM_UP);
                Held before = Held.now(groups);
                run(rank, batches, STEPS - WARM_UP);
                Held after = Held.now(groups);

                assertThat(after.resident() - before.resident())
                        .as("resident bytes")
                        .isLessThan(RESIDENT_BOUND);
                assertThat(after.natives() - before.natives())
                        .as("native objects")
                        .isLessThan(STEPS / 4);
                assertThat(after.heap() - before.heap()).as("heap bytes").isLessThan(HEAP_BOUND);
                assertThat(after.scopes()).as("scopes").isEqualTo(before.scopes());
            }
        });
    }

    private static void run(TrainingRank rank, StepBatches batches, int steps) {
        for (int step = 0; step < steps; step++) {
            assertThat(rank.step(batches, 1e-4).updated()).isTrue();
            if (step % 5 == 0) {
                rank.sequence().loss(batches.microBatches().get(0));
            }
        }
    }
}
