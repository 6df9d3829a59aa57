package ulysses.runtime.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import ulysses.runtime.checkpoint.Checkpoint.Check;
import ulysses.runtime.servers.QuickDisk;
import ulysses.runtime.servers.Storage;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;

/** Stops a run at every operation on the file system and checks that what was complete before still loads, and that a new attempt goes on. */
final class CheckpointCrashTest {
    private static final int RANKS = 2;
    private static final int KEPT = 2;
    private static final int OPERATIONS_OF_A_WRITE = 3;

    private static final Path DISK = QuickDisk.folder("crash");

    /** Saves step 30 in a folder that holds 20, and maybe 10, keeping {@code kept}; returns the operations done. */
    private static int saveOneMore(Folder root, ModelDirectory model, int kept, int stopAt) {
        StoppingFolder.Plan plan = new StoppingFolder.Plan(stopAt);
        Folder stopping = new StoppingFolder(root, plan);
        CheckpointStore store = new CheckpointStore(stopping);
        try {
            store.collectOrphans();
            store.discardAfter(20);
            CheckpointRun.save(stopping, model, 2, 30, RANKS);
            store.retain(kept);
        } catch (StoppingFolder.Stopped stopped) {
            return plan.operations();
        }
        return plan.operations();
    }

    private static long checkNewest(Folder root) {
        Checkpoint newest =
                new CheckpointStore(root).newest(Check.CHECKSUMS).checkpoint().orElseThrow();
        long step = newest.manifest().step();
        assertThat(newest.trainerStateJson()).isEqualTo("{\"global_step\": %d}".formatted(step));
        try (CheckpointReader reader = CheckpointReader.open(newest)) {
            ByteBuffer into = ByteBuffer.allocate(32 * 4).order(ByteOrder.LITTLE_ENDIAN);
            reader.read(StateTensor.EXP_AVG, "model.embed_tokens.weight", 0, into);
            for (int i = 0; i < 32; i++) {
                assertThat(into.getFloat(i * 4)).isEqualTo(CheckpointRun.value(step, 0, i));
            }
        }
        return step;
    }

    @Test
    void theLastCompleteCheckpointLoadsWhereverTheRunStops() {
        Folder all = Storage.LOCAL.folder(DISK);
        ModelDirectory model = CheckpointRun.model(all.folder("model"));
        Folder whole = prepare(all.folder("whole"), model);
        int operations = saveOneMore(whole, model, KEPT, Integer.MAX_VALUE);
        assertThat(operations).isGreaterThan(40);
        assertThat(checkNewest(whole)).isEqualTo(30);

        long before = 20;
        for (int stopAt = 1; stopAt <= operations; stopAt++) {
            Folder root = prepare(all.folder("stop-" + stopAt), model);
            assertThat(saveOneMore(root, model, KEPT, stopAt)).isEqualTo(stopAt);

            long newest = checkNewest(root);
            assertThat(newest).as("stopped at operation %d", stopAt).isBetween(before, 30L);
            before = newest;
            goOn(root, model, newest);
            all.delete("stop-" + stopAt);
        }
        assertThat(before).isEqualTo(30);
    }

    /** The same over a network, after every write; each stop is found by the attempt that follows it, in the same folder. */
    @ParameterizedTest
    @EnumSource(names = {"HDFS", "S3"})
    void theLastCompleteCheckpointLoadsWhereverTheRunStopsOnRealServers(Storage storage) {
        Folder root = storage.folder(DISK);
        ModelDirectory model = CheckpointRun.model(storage.folder(DISK).folder("model"));
        CheckpointRun.save(root, model, 1, 20, 1);
        int stops = 0;
        int done = 0;
        for (int stopAt = 1; done >= stopAt - OPERATIONS_OF_A_WRITE; stopAt += OPERATIONS_OF_A_WRITE) {
            done = saveOneMore(root, model, 1, stopAt);
            stops++;
            long newest = checkNewest(root);
            assertThat(newest).as("stopped at operation %d", stopAt).isIn(20L, 30L);
            if (newest == 30) {
                new CheckpointStore(root).discardAfter(0);
                CheckpointRun.save(root, model, 1, 20, 1);
            }
        }
        assertThat(stops).isGreaterThan(15);
    }

    private static Folder prepare(Folder root, ModelDirectory model) {
        CheckpointRun.save(root, model, 1, 10, 3);
        CheckpointRun.save(root, model, 1, 20, 3);
        return root;
    }

    /** The next attempt cleans up, saves the same steps again, and only what is kept remains. */
    private static void goOn(Folder root, ModelDirectory model, long from) {
        CheckpointStore store = new CheckpointStore(root);
        store.collectOrphans();
        store.discardAfter(from);
        for (long step = from + 10; step <= 40; step += 10) {
            CheckpointRun.save(root, model, 3, step, 1);
            store.retain(KEPT);
        }
        assertThat(checkNewest(root)).isEqualTo(40);
        assertThat(root.list())
                .extracting(Folder.Entry::name)
                .containsExactly("LATEST", "checkpoint-30", "checkpoint-40");
    }
}
