package ulysses.driver.launch;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointManifest;
import ulysses.runtime.checkpoint.CheckpointReader;
import ulysses.runtime.checkpoint.CheckpointStore;
import ulysses.runtime.checkpoint.CheckpointWriter;
import ulysses.runtime.checkpoint.StateTensor;
import ulysses.runtime.checkpoint.TrainState;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ParameterBlock;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.TensorData;
import ulysses.runtime.weights.TunedModel;
import ulysses.runtime.weights.WrittenFile;

/**
 * A rank of {@link ThousandRanks}: no tensors, but the protocol of RankMain, a store that all connect to, steps that wait for all,
 * and checkpoints by the code of real ranks with as many files and tensors as ZeRO stage 3 makes. What it measures it says as a
 * warning that begins with {@link #MEASURED}.
 */
final class StandInThread {
    static final String MEASURED = "measured: ";
    static final int STEPS = 6;
    static final int SAVE_STEPS = 2;
    private static final int KILLED_RANK = 700;
    private static final int KILLED_AT = 4;
    private static final long STEP_MILLIS = 500;
    private static final Map<String, CyclicBarrier> BARRIERS = new ConcurrentHashMap<>();

    private final RankAssignment me;
    private final PrintStream out;
    private final CyclicBarrier all;
    private final CheckpointStore store;
    private final CheckpointWriter writer;

    private StandInThread(RankAssignment me, PrintStream out) {
        this.me = me;
        this.out = out;
        this.all = BARRIERS.computeIfAbsent(
                me.runId() + "/" + me.attempt(),
                key -> new CyclicBarrier(me.mesh().worldSize()));
        this.store = new CheckpointStore(at(me.config().output().outputDir()));
        this.writer = new CheckpointWriter(store, me.attempt(), me.runId(), me.mesh());
    }

    /** In place of the process that {@code command} says. */
    static Process start(ProcessBuilder command) throws IOException {
        return new StandInProcess(StandInThread::run);
    }

    private static int run(InputStream in, OutputStream out) throws Exception {
        String line = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8)).readLine();
        StandInThread rank = new StandInThread(
                JsonLines.read(line, RankAssignment.class), new PrintStream(out, true, StandardCharsets.UTF_8));
        return rank.live();
    }

    private static Folder at(String path) {
        return Folder.at(path, new Configuration(false));
    }

    private int live() throws Exception {
        say(new RankEvent.Phase(me.rank(), "load", 0));
        connect();
        try {
            long first = resume() + 1;
            for (long step = first; step <= STEPS; step++) {
                say(new RankEvent.Phase(me.rank(), "step", step));
                if (me.attempt() == 1
                        && step == KILLED_AT
                        && me.rank() == KILLED_RANK % me.mesh().worldSize()) {
                    measured("killed", System.currentTimeMillis());
                    return 137;
                }
                TimeUnit.MILLISECONDS.sleep(STEP_MILLIS);
                all.await();
                if (me.rank() == 0) {
                    say(new RankEvent.Step(0, step, STEPS, 0.5, 2.0 / step, 1.0, 1e-4, 128, 0.5, 1 << 20));
                }
                if (step % SAVE_STEPS == 0) {
                    save(step);
                }
            }
            say(new RankEvent.Done(me.rank(), STEPS));
            return 0;
        } catch (BrokenBarrierException e) {
            say(new RankEvent.Failed(me.rank(), 0, "infrastructure", "exchange with peers failed"));
            return 1;
        }
    }

    private void connect() throws IOException {
        say(new RankEvent.Phase(me.rank(), "connect", 0));
        if (me.rank() > 0) {
            new Socket(me.storeHost(), me.storePort()).close();
            return;
        }
        try (ServerSocket socket = new ServerSocket(0, 4096, InetAddress.getByName(me.host()))) {
            say(new RankEvent.StoreOpen(0, socket.getLocalPort()));
            for (int peer = 1; peer < me.mesh().worldSize(); peer++) {
                socket.accept().close();
            }
        }
    }

    /** What RunCheckpoints does at the beginning of an attempt. */
    private long resume() throws Exception {
        long begin = System.nanoTime();
        Optional<Checkpoint> found = Optional.empty();
        if (me.rank() == 0) {
            found = store.newestOf(me.runId(), Checkpoint.Check.CHECKSUMS).checkpoint();
            store.discardAfter(
                    found.map(checkpoint -> checkpoint.state().step()).orElse(0L));
            store.collectOrphans();
            if (found.isPresent()) {
                measured("the newest checkpoint is found and checked, ms", (System.nanoTime() - begin) / 1_000_000);
                long read = System.nanoTime();
                CheckpointReader.open(found.get()).close();
                measured("one rank reads where its tensors are, ms", (System.nanoTime() - read) / 1_000_000);
            }
        }
        all.await();
        return store.completeSteps().stream().findFirst().orElse(0L);
    }

    private void save(long step) throws Exception {
        say(new RankEvent.Phase(me.rank(), "checkpoint", step));
        ModelDirectory model = ModelDirectory.open(at(me.config().model().modelNameOrPath()));
        TunedModel tuned = TunedModel.of(me.config(), model.spec(), new Configuration(false));
        long begin = System.nanoTime();
        writer.writeRank(step, me.rank(), weights(tuned), states(tuned));
        long written = System.nanoTime();
        all.await();
        if (me.rank() == 0) {
            long waited = System.nanoTime();
            List<WrittenFile> files = writer.gathering(step).look().orElseThrow();
            long seen = System.nanoTime();
            TrainState state = new TrainState(step, 0.1, 1, 1, 1, 1, 1, 42, "c", "d", 0);
            Checkpoint checkpoint = writer.commit(files, state, "{\"log_history\": []}", model, model.spec());
            long committed = System.nanoTime();
            measured("rank 0 writes its part, ms", (written - begin) / 1_000_000);
            measured("rank 0 reads the lists of all ranks, ms", (seen - waited) / 1_000_000);
            measured("commit, ms", (committed - seen) / 1_000_000);
            measured("files", files.size());
            measured(
                    "manifest, bytes",
                    store.folder(step).length(CheckpointManifest.FILE).orElseThrow());
            say(new RankEvent.Saved(0, step, checkpoint.path()));
        }
        all.await();
    }

    /** This rank's share of whole weights. */
    private List<TensorData> weights(TunedModel tuned) {
        List<ParameterSpec> trained = tuned.plan().trained();
        List<TensorData> mine = new ArrayList<>();
        for (int i = 0; i < trained.size(); i++) {
            if (i * (long) me.mesh().worldSize() / trained.size() == me.rank()) {
                ParameterSpec parameter = trained.get(i);
                mine.add(TensorData.of(
                        parameter.name(),
                        DataType.F32,
                        parameter.shape(),
                        ByteBuffer.allocate((int) parameter.elements() * Float.BYTES)));
            }
        }
        return mine;
    }

    /** Moments and master weights of its slices. */
    private List<TensorData> states(TunedModel tuned) {
        List<TensorData> mine = new ArrayList<>();
        for (ParameterBlock block :
                ParameterBlock.trained(tuned.plan(), me.mesh().worldSize())) {
            for (ParameterBlock.Piece piece : block.pieces(me.rank())) {
                for (String state : List.of(StateTensor.EXP_AVG, StateTensor.EXP_AVG_SQ, StateTensor.MASTER)) {
                    String parameter = piece.place().parameter().name();
                    mine.add(TensorData.of(
                            StateTensor.slice(state, parameter, piece.first()).name(),
                            DataType.F32,
                            new long[] {piece.elements()},
                            ByteBuffer.allocate((int) piece.elements() * Float.BYTES)));
                }
            }
        }
        return mine;
    }

    private void measured(String what, long value) {
        say(new RankEvent.Warning(me.rank(), MEASURED + what + ": " + value));
    }

    private void say(RankEvent event) {
        out.println(JsonLines.write(event));
    }
}
