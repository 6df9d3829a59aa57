package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
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
 * Two hundred steps of two ranks hold memory level. Native memory is measured in a JVM without garbage collection, so that nothing
 * forgotten is freed behind our back: native objects that Java holds, and resident bytes beyond the heap. One hidden state of a rank
 * is 38 KiB: one forgotten tensor a step and rank would add 11 MiB after the warm-up, and 300 objects.
 */
final class NativeLeakTest {

    private static final int STEPS = 200;
    private static final int WARM_UP = 50;
    private static final long NATIVE_BOUND = 8L << 20; // JIT and metaspace grow too: up to 5 MiB seen
    private static final long OBJECT_BOUND = 20; // the other rank may be at another place of its barrier
    private static final long HEAP_BOUND = 4L << 20;

    @TempDir
    private Path directory;

    @ParameterizedTest(name = "checkpointing {0}")
    @ValueSource(strings = {"on", "off, away", "on, with slices"})
    void manyStepsHoldNativeMemoryLevel(String checkpointing) throws Exception {
        run(checkpointing, "-Xmx4g", "-XX:+UnlockExperimentalVMOptions", "-XX:+UseEpsilonGC");
    }

    @Test
    void manyStepsHoldHeapLevel() throws Exception {
        run("on", "-Xmx256m", "-XX:+UseSerialGC");
    }

    private void run(String checkpointing, String... jvmOptions) throws Exception {
        Path output = directory.resolve("output.txt");
        List<String> command = new ArrayList<>(List.of(System.getProperty("java.home") + "/bin/java"));
        command.addAll(List.of(jvmOptions));
        command.addAll(List.of("-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path")));
        command.addAll(List.of(TwoRanks.class.getName(), checkpointing));
        Process process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();

        boolean ended = process.waitFor(120, TimeUnit.SECONDS);
        process.destroyForcibly().waitFor();

        assertThat(ended).as(Files.readString(output)).isTrue();
        assertThat(process.exitValue()).as(Files.readString(output)).isZero();
    }

    /** The process: ends with an assertion's stack trace where something grows. */
    static final class TwoRanks {
        private static final RankMesh MESH = new RankMesh(2, 2);
        private static final List<PackedRow> ROWS = SmallModels.rows(51, 8, 50);

        private TwoRanks() {}

        public static void main(String[] arguments) {
            How how = arguments[0].startsWith("off") ? How.PLAIN.withoutCheckpointing() : How.PLAIN;
            How where = arguments[0].endsWith("away") ? how.withOffloadedActivations() : how;
            How cut = where.withStage(arguments[0].endsWith("slices") ? 3 : 0);
            RankThreads.forEachRank(MESH, groups -> {
                try (TrainingRank rank = TrainingRank.of(SmallModels.llama(), cut, groups)) {
                    StepBatches batches =
                            TrainingRank.batches(ROWS, MESH, groups.world().rank(), 1);
                    assertThat(batches.microBatches().get(0).length()).isGreaterThan(600);

                    run(rank, batches, WARM_UP);
                    Held before = Held.now(groups);
                    run(rank, batches, STEPS - WARM_UP);
                    Held after = Held.now(groups);

                    System.out.println(before + " -> " + after);
                    after.checkAgainst(before);
                }
            });
        }

        private static void run(TrainingRank rank, StepBatches batches, int steps) {
            for (int step = 0; step < steps; step++) {
                assertThat(rank.step(batches, 1e-4).updated()).isTrue();
                if (step % 5 == 0) {
                    rank.sequence().sums(batches.microBatches().get(0));
                }
            }
        }
    }

    /** What is held at one moment, in bytes and objects. */
    private record Held(long resident, long heap, long objects, int scopes) {
        static Held now(ProcessGroups groups) {
            groups.world().barrier();
            System.gc();
            Runtime runtime = Runtime.getRuntime();
            Held held = new Held(
                    DeviceMemory.host().current(),
                    runtime.totalMemory() - runtime.freeMemory(),
                    Pointer.totalCount(),
                    TensorScope.openScopes());
            groups.world().barrier();
            return held;
        }

        void checkAgainst(Held before) {
            if (ManagementFactory.getGarbageCollectorMXBeans().stream().anyMatch(gc -> gc.getCollectionCount() > 0)) {
                assertThat(heap - before.heap).as("heap bytes").isLessThan(HEAP_BOUND);
            } else {
                assertThat(objects - before.objects).as("native objects").isLessThan(OBJECT_BOUND);
                assertThat(resident - heap - (before.resident - before.heap))
                        .as("resident bytes beyond the heap")
                        .isLessThan(NATIVE_BOUND);
            }
            assertThat(scopes).as("scopes").isEqualTo(before.scopes);
        }
    }
}
