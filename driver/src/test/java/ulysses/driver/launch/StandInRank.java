package ulysses.driver.launch;

import java.io.BufferedReader;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.mesh.RankEvent;

/**
 * A rank process without a model: speaks the protocol of RankMain, keeps step with its peers over a plain socket as a collective
 * would, and misbehaves as told by {@code trainRows}, for example {@code steps=5,act=throw,rank=1,at=3,attempts=1}; with {@code host}
 * in place of {@code rank} that is any rank of an executor that calls its machine so.
 */
final class StandInRank {
    private final RankAssignment me;
    private final Map<String, String> script;
    private final List<Socket> peers = new ArrayList<>();

    private StandInRank(RankAssignment me) {
        this.me = me;
        this.script = Arrays.stream(me.trainRows().split(","))
                .map(pair -> pair.split("="))
                .collect(Collectors.toMap(pair -> pair[0], pair -> pair[1]));
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        RankAssignment me = JsonLines.read(input.readLine(), RankAssignment.class);
        Thread watch = new Thread(() -> haltAtEnd(input), "parent-watch");
        watch.setDaemon(true);
        watch.start();
        StandInRank rank = new StandInRank(me);
        try {
            rank.connect();
            rank.train();
        } catch (IOException e) {
            rank.emit(new RankEvent.Failed(me.rank(), 0, "infrastructure", "exchange with peers failed: " + e));
            System.exit(1);
        }
    }

    private static void haltAtEnd(BufferedReader input) {
        try {
            while (input.readLine() != null) {
                // whatever is said later is not for this rank
            }
        } catch (IOException e) {
            // the same as the end of the stream
        }
        Runtime.getRuntime().halt(RankExit.ORPHANED);
    }

    private void connect() throws IOException {
        emit(new RankEvent.Phase(me.rank(), "connect", 0));
        System.err.println("rank " + me.rank() + " of " + me.mesh().worldSize() + " connects");
        if (me.config().parallel().device() == ParallelConfig.Device.CUDA) {
            emit(new RankEvent.Warning(me.rank(), "sees GPU " + System.getenv("CUDA_VISIBLE_DEVICES")));
        }
        if (number("tellThreads", 0) == 1) {
            emit(new RankEvent.Warning(me.rank(), "has threads: " + me.threads()));
        }
        if (me.rank() > 0) {
            peers.add(new Socket(me.storeHost(), me.storePort()));
            return;
        }
        try (ServerSocket store = new ServerSocket(0, 50, InetAddress.getByName(me.host()))) {
            emit(new RankEvent.StoreOpen(0, store.getLocalPort()));
            for (int peer = 1; peer < me.mesh().worldSize(); peer++) {
                peers.add(store.accept());
            }
        }
    }

    private void train() throws Exception {
        long first = resumedStep() + 1;
        int more =
                number("laterSteps", 0); // steps of an attempt that resumes, for scripts whose first attempt has no end
        long last = me.attempt() > 1 && more > 0 ? first + more - 1 : number("steps", 5);
        for (long step = first; step <= last; step++) {
            if (number("hangAt", -1) == step && number("rank", -1) == me.rank()) {
                Thread.sleep(
                        600_000); // before it says that the step begins, so that this rank is known to be the late one
            }
            emit(new RankEvent.Phase(me.rank(), "step", step));
            System.err.println("step " + step + " begins");
            misbehave(step, step - first + 1);
            exchange(step);
            Thread.sleep(10);
            if (me.rank() == 0) {
                emit(new RankEvent.Step(0, step, last, 0.5, 2.0 / step, 1.0, 1e-4, 128, 0.01, 1 << 20));
                save(step);
            }
        }
        emit(new RankEvent.Done(me.rank(), last));
    }

    private void exchange(long step) throws IOException {
        for (Socket peer : peers) {
            new DataOutputStream(peer.getOutputStream()).writeLong(step);
        }
        Thread.currentThread().setName("main waits in exchange number " + step + " of all ranks");
        for (Socket peer : peers) {
            if (new DataInputStream(peer.getInputStream()).readLong() != step) {
                throw new IOException("peers are at different steps");
            }
        }
        Thread.currentThread().setName("main");
    }

    /** {@code at} counts steps of the run, {@code after} steps of this attempt. */
    private void misbehave(long step, long stepOfAttempt) throws Exception {
        boolean now = number("at", -1) == step || number("after", -1) == stepOfAttempt;
        if (!now || !isMeant() || me.attempt() > number("attempts", 1)) {
            return;
        }
        switch (script.getOrDefault("act", "none")) {
            case "throw" -> {
                emit(new RankEvent.Failed(
                        me.rank(), step, script.getOrDefault("kind", "data"), "boom at step " + step));
                throw new IllegalStateException("boom at step " + step);
            }
            case "exit" -> System.exit(9);
            case "kill" -> signal("KILL");
            case "crash" -> signal("SEGV");
            default -> throw new IllegalArgumentException("no such act: " + script);
        }
    }

    private boolean isMeant() throws IOException {
        String host = script.get("host");
        if (host == null) {
            return number("rank", -1) == me.rank();
        }
        long executor = ProcessHandle.current().parent().orElseThrow().pid();
        String line = Files.readString(Path.of("/proc", Long.toString(executor), "cmdline"));
        return line.contains("--hostname\0" + host + "\0");
    }

    private static void signal(String name) throws Exception {
        new ProcessBuilder(
                        "sh",
                        "-c",
                        "kill -" + name + " " + ProcessHandle.current().pid())
                .start()
                .waitFor();
        Thread.sleep(60_000);
    }

    private long resumedStep() throws IOException {
        Path saved = savedFile();
        return Files.exists(saved) ? Long.parseLong(Files.readString(saved)) : 0;
    }

    private void save(long step) throws IOException {
        if (step % number("save", Integer.MAX_VALUE) == 0) {
            Path complete = Files.writeString(savedFile().resolveSibling("saving"), Long.toString(step));
            Files.move(complete, savedFile(), StandardCopyOption.ATOMIC_MOVE); // a rank may be killed at any moment
            emit(new RankEvent.Saved(0, step, savedFile().toString()));
        }
    }

    private Path savedFile() {
        return Path.of(me.config().output().outputDir(), "saved");
    }

    private int number(String key, int otherwise) {
        return Integer.parseInt(script.getOrDefault(key, Integer.toString(otherwise)));
    }

    private void emit(RankEvent event) {
        System.out.println(JsonLines.write(event));
    }
}
