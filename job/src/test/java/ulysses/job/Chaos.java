package ulysses.job;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.OptionalLong;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A real job on two ranks that faults happen to, each behind a checkpoint that is newer than the fault before. The job is submitted
 * again, with the same command, whenever a fault has ended it.
 */
final class Chaos implements AutoCloseable {
    private static final Duration LIMIT = Duration.ofMinutes(3);
    private static final Pattern STEP = Pattern.compile("^step (\\d+)/", Pattern.MULTILINE);
    /** What the driver logs when it has noticed that an attempt failed. */
    private static final Pattern NOTICED =
            Pattern.compile("RunAttempts: attempt \\d+: (?:a )?rank(?: \\d+)? on host .*");

    private final Path folder;
    private final Path output;
    private final Random random;
    private final String[] arguments;
    private JobProcess job;
    private int submissions;
    private long checkpoint;

    /** What may happen to a run. */
    enum Fault {
        KILL_RANK,
        CRASH_RANK,
        STOP_RANK,
        STARVE_RANK,
        CUT_CONNECTIONS,
        KILL_EXECUTOR,
        KILL_DRIVER,
        DAMAGE_NEWEST_CHECKPOINT
    }

    /**
     * What a fault cost.
     *
     * @param fault what was done
     * @param step the newest step at that time
     * @param noticed seconds until the driver said that the attempt failed, or until the job ended
     * @param nextStep seconds until the first step of the next attempt was done, repeated or not
     * @param message what the driver said
     */
    record Recovery(Fault fault, long step, double noticed, double nextStep, String message) {}

    private Chaos(Path folder, Path output, Random random, String[] arguments) throws IOException {
        this.folder = folder;
        this.output = output;
        this.random = random;
        this.arguments = arguments;
        this.checkpoint = newestCheckpoint(output).orElse(0);
        this.job = submit();
    }

    /** Submits the job, which writes to {@code output}. */
    static Chaos begin(Path folder, Path output, Random random, String... arguments) throws IOException {
        return new Chaos(folder, output, random, arguments);
    }

    /** The job as it runs now. */
    JobProcess job() {
        return job;
    }

    int submissions() {
        return submissions;
    }

    /** Waits for a new checkpoint and a step behind it, lets {@code fault} happen, and waits for the first step of the next attempt. */
    Recovery endure(Fault fault) throws Exception {
        awaitNewCheckpoint();
        Thread.sleep(random.nextInt(300)); // anywhere in a step, or in the next checkpoint
        requireAlive();
        long step = lines("trainer_log.jsonl");
        long noticedBefore = noticed(job).size();
        List<ProcessHandle> started = job.descendants();
        long begin = System.nanoTime();
        inflict(fault);
        Await.that(
                "that the driver notices " + fault,
                LIMIT,
                () -> !job.process().isAlive() || noticed(job).size() > noticedBefore);
        double noticed = seconds(begin);
        List<String> said = noticed(job);
        boolean ended = !job.process().isAlive();
        if (ended) {
            requireAlive(); // it must not have come to its end
            job.close();
            job = submit();
        }
        long stepsBefore = steps(job);
        Await.that(
                "a step after " + fault,
                LIMIT,
                () -> steps(job) > stepsBefore || !job.process().isAlive());
        double nextStep = seconds(begin);
        if (ended) {
            awaitEnd(started);
        }
        checkpoint = newestCheckpoint(output).orElse(0);
        return new Recovery(fault, step, noticed, nextStep, said.isEmpty() ? "" : said.get(said.size() - 1));
    }

    /** Waits for a checkpoint that was not there after the fault before, and for a step behind it. */
    void awaitNewCheckpoint() throws InterruptedException {
        Await.that("a step behind a new checkpoint", LIMIT, () -> {
            long newest = newestCheckpoint(output).orElse(0);
            boolean isBehind = newest > checkpoint && lines("trainer_log.jsonl") > newest;
            return isBehind || !job.process().isAlive();
        });
    }

    /** Makes {@code fault} happen now. */
    void inflict(Fault fault) throws Exception {
        switch (fault) {
            case KILL_RANK -> signal("KILL", anyRank());
            case CRASH_RANK -> signal("SEGV", anyRank());
            case STOP_RANK -> signal("STOP", anyRank());
            case STARVE_RANK -> run("prlimit", "--pid", Long.toString(anyRank().pid()), "--as=1");
            case CUT_CONNECTIONS -> {
                if (Connections.cut(anyRank()) == 0) {
                    throw new AssertionError("no connection was cut");
                }
            }
            case KILL_EXECUTOR -> signal("KILL", anyRank().parent().orElseThrow());
            case KILL_DRIVER -> job.kill();
            case DAMAGE_NEWEST_CHECKPOINT -> {
                signal("KILL", anyRank()); // so that nothing newer is committed
                damageNewest();
            }
        }
    }

    /** Flips one bit of a file of the newest complete checkpoint. */
    void damageNewest() throws IOException {
        Path newest = output.resolve("checkpoint-" + newestCheckpoint(output).orElseThrow());
        try (Stream<Path> files = Files.walk(newest)) {
            List<Path> data = files.filter(
                            path -> path.toString().matches(".*/(model|optimizer)-rank\\d+.*\\.safetensors"))
                    .sorted()
                    .toList();
            Path victim = data.get(random.nextInt(data.size()));
            byte[] bytes = Files.readAllBytes(victim);
            bytes[random.nextInt(bytes.length)] ^= (byte) (1 << random.nextInt(8));
            Files.write(victim, bytes);
        }
    }

    /** Waits until none of {@code processes} is left; nobody ends them but themselves. */
    static void awaitEnd(List<ProcessHandle> processes) throws InterruptedException {
        Await.that(
                "the end of all processes",
                Duration.ofSeconds(20),
                () -> processes.stream().noneMatch(Chaos::isRunning));
    }

    /** A process that ended but that nobody asked about has no command line any more. */
    private static boolean isRunning(ProcessHandle process) {
        return process.isAlive() && process.info().command().isPresent();
    }

    /** Rank processes among {@code processes}. */
    static List<ProcessHandle> ranks(Stream<ProcessHandle> processes) {
        return processes
                .filter(process -> process.info()
                        .commandLine()
                        .filter(line -> line.contains("ulysses.runtime.training.RankMain"))
                        .isPresent())
                .sorted(Comparator.comparingLong(ProcessHandle::pid))
                .toList();
    }

    /** The step of the newest complete checkpoint in {@code output}. */
    static OptionalLong newestCheckpoint(Path output) {
        try (Stream<Path> found = Files.list(output)) {
            return found.filter(path -> Files.exists(path.resolve("MANIFEST.json")))
                    .map(path -> String.valueOf(path.getFileName()))
                    .filter(name -> name.startsWith("checkpoint-"))
                    .mapToLong(name -> Long.parseLong(name.substring("checkpoint-".length())))
                    .max();
        } catch (IOException | UncheckedIOException e) {
            return OptionalLong.empty(); // not there yet, or one of them just went
        }
    }

    /** Ends the job if it still runs. */
    @Override
    public void close() {
        job.close();
    }

    private JobProcess submit() throws IOException {
        submissions++;
        return JobProcess.start(folder, List.of(), List.of(arguments));
    }

    private void requireAlive() throws IOException {
        if (!job.process().isAlive() && job.process().exitValue() == 0) {
            throw new AssertionError("the run was done before its next fault; give it more steps");
        }
    }

    private ProcessHandle anyRank() throws InterruptedException {
        List<ProcessHandle> ranks = new ArrayList<>();
        Await.that("two ranks", LIMIT, () -> {
            ranks.clear();
            ranks.addAll(ranks(job.descendants().stream()));
            return ranks.size() == 2;
        });
        return ranks.get(random.nextInt(2));
    }

    private static void signal(String name, ProcessHandle process) throws IOException, InterruptedException {
        run("kill", "-" + name, Long.toString(process.pid()));
    }

    private static void run(String... command) throws IOException, InterruptedException {
        int code = new ProcessBuilder(command).inheritIO().start().waitFor();
        if (code != 0) {
            throw new AssertionError(String.join(" ", command) + " ended with " + code);
        }
    }

    private static double seconds(long since) {
        return (System.nanoTime() - since) / 1e9;
    }

    private long lines(String file) {
        try (Stream<String> lines = Files.lines(output.resolve(file))) {
            return lines.count();
        } catch (IOException | UncheckedIOException e) {
            return 0; // not there yet
        }
    }

    private static long steps(JobProcess job) {
        return STEP.matcher(text(job.out())).results().count();
    }

    private static List<String> noticed(JobProcess job) {
        Matcher lines = NOTICED.matcher(text(job.err()));
        return lines.results().map(line -> line.group()).toList();
    }

    private static String text(Path file) {
        try {
            return Files.readString(file, StandardCharsets.UTF_8);
        } catch (IOException e) {
            return ""; // half a character, which is whole at the next look
        }
    }
}
