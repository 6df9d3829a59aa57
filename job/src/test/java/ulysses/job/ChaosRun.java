package ulysses.job;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Trains once in peace and once while faults are drawn at random: ranks, executors and the driver killed, ranks crashed or stopped,
 * the newest checkpoint damaged. The job is submitted again, with the same command, whenever it has ended. Says how long each fault
 * cost until the next new step, and compares the weights bit for bit.
 *
 * <pre>mvn -B -q -pl executor-runtime,driver,job test-compile; java -cp ... ulysses.job.ChaosRun FOLDER FAULTS SEED</pre>
 */
final class ChaosRun {
    private static final Pattern STEP = Pattern.compile("^step (\\d+)/", Pattern.MULTILINE);
    private static final Duration LIMIT = Duration.ofMinutes(3);

    private final Path folder;
    private final Path output;
    private final Random random;
    private final String[] arguments;
    private final List<String> recoveries = new ArrayList<>();
    private JobProcess job;
    private int submissions;

    private enum Fault {
        KILL_RANK,
        KILL_EXECUTOR,
        KILL_DRIVER,
        CRASH_RANK,
        STOP_RANK,
        DAMAGE_NEWEST_CHECKPOINT
    }

    private ChaosRun(Path folder, Path output, Random random, String[] arguments) throws IOException {
        this.folder = folder;
        this.output = output;
        this.random = random;
        this.arguments = arguments;
        this.job = submit();
    }

    public static void main(String[] given) throws Exception {
        Path folder = Path.of(given[0]).toAbsolutePath();
        int faults = Integer.parseInt(given[1]);
        long seed = Long.parseLong(given[2]);
        Files.createDirectories(folder);
        System.out.printf("seed %d, %d faults%n", seed, faults);
        String[] more = {
            "max_steps=" + (40 + 25 * faults),
            "save_steps=10",
            "hang_timeout=30",
            "max_attempts=5",
            "save_total_limit=3"
        };
        Path peace = folder.resolve("peace");
        try (JobProcess undisturbed =
                JobProcess.start(folder, List.of(), List.of(ResumeTest.arguments(folder, peace, more)))) {
            succeeded(undisturbed);
        }
        Path war = folder.resolve("war");
        ChaosRun chaos = new ChaosRun(folder, war, new Random(seed), ResumeTest.arguments(folder, war, more));
        chaos.run(faults);
        long different = Files.mismatch(peace.resolve("model.safetensors"), war.resolve("model.safetensors"));
        chaos.recoveries.forEach(System.out::println);
        System.out.printf(
                "%d faults, %d submissions; weights: %s%n",
                faults, chaos.submissions, different < 0 ? "bit for bit equal" : "DIFFERENT from byte " + different);
        if (different >= 0) {
            System.exit(1);
        }
    }

    private static void succeeded(JobProcess job) throws InterruptedException {
        if (!job.process().waitFor(30, TimeUnit.MINUTES)) {
            throw new AssertionError("still running after 30 minutes");
        }
        job.await().succeeded();
    }

    private JobProcess submit() throws IOException {
        submissions++;
        return JobProcess.start(folder, List.of(), List.of(arguments));
    }

    private void run(int faults) throws Exception {
        try {
            for (int i = 1; i <= faults; i++) {
                awaitStepAfter(newestStep(job));
                TimeUnit.MILLISECONDS.sleep(random.nextInt(2_000));
                if (!job.process().isAlive()) {
                    throw new AssertionError("the run ended after %d faults; give it more steps".formatted(i - 1));
                }
                Fault fault = Fault.values()[random.nextInt(Fault.values().length)];
                long step = newestStep(job);
                long begin = System.nanoTime();
                String what = inflict(fault);
                if (!job.process().isAlive()) {
                    job.close();
                    job = submit();
                    step = 0; // a new process reports its own steps only
                }
                awaitNewAttempt(step);
                recoveries.add(String.format(
                        Locale.ROOT,
                        "%2d  %-24s at step %4d  %s: next step after %.1f s",
                        i,
                        fault,
                        step,
                        what,
                        (System.nanoTime() - begin) / 1e9));
                System.out.println(recoveries.get(recoveries.size() - 1));
            }
            succeeded(job);
        } finally {
            job.close();
        }
    }

    private String inflict(Fault fault) throws Exception {
        switch (fault) {
            case KILL_RANK -> signal("KILL", any(ranks()));
            case CRASH_RANK -> signal("SEGV", any(ranks()));
            case STOP_RANK -> signal("STOP", any(ranks()));
            case KILL_EXECUTOR -> signal("KILL", any(ranks()).parent().orElseThrow());
            case KILL_DRIVER -> job.kill();
            case DAMAGE_NEWEST_CHECKPOINT -> {
                job.kill();
                return damage();
            }
        }
        return "";
    }

    /** Flips a byte of a random file of the newest complete checkpoint. */
    private String damage() throws IOException {
        try (Stream<Path> found = Files.list(output)) {
            Optional<Path> newest = found.filter(path -> Files.exists(path.resolve("MANIFEST.json")))
                    .max(Comparator.comparingLong(ChaosRun::stepOf));
            if (newest.isEmpty()) {
                return "no checkpoint yet";
            }
            try (Stream<Path> files = Files.walk(newest.get())) {
                List<Path> data = files.filter(path -> path.toString().contains("attempt-")
                                && path.toString().endsWith(".safetensors"))
                        .sorted()
                        .toList();
                Path victim = data.get(random.nextInt(data.size()));
                byte[] bytes = Files.readAllBytes(victim);
                bytes[random.nextInt(bytes.length)] ^= (byte) (1 << random.nextInt(8));
                Files.write(victim, bytes);
                return output.relativize(victim).toString();
            }
        }
    }

    private static long stepOf(Path checkpoint) {
        String name = String.valueOf(checkpoint.getFileName());
        return name.startsWith("checkpoint-") ? Long.parseLong(name.substring("checkpoint-".length())) : -1;
    }

    private List<ProcessHandle> ranks() throws InterruptedException {
        List<ProcessHandle> ranks = new ArrayList<>();
        Await.that("two ranks", LIMIT, () -> {
            ranks.clear();
            job.descendants().stream()
                    .filter(process -> process.info()
                            .commandLine()
                            .filter(line -> line.contains("ulysses.runtime.training.RankMain"))
                            .isPresent())
                    .sorted(Comparator.comparingLong(ProcessHandle::pid))
                    .forEach(ranks::add);
            return ranks.size() == 2;
        });
        return ranks;
    }

    private ProcessHandle any(List<ProcessHandle> processes) {
        return processes.get(random.nextInt(processes.size()));
    }

    private static void signal(String name, ProcessHandle process) throws IOException, InterruptedException {
        new ProcessBuilder("kill", "-" + name, Long.toString(process.pid()))
                .start()
                .waitFor();
    }

    private void awaitStepAfter(long step) throws InterruptedException {
        Await.that(
                "a step after " + step,
                LIMIT,
                () -> newestStep(job) > step || !job.process().isAlive());
    }

    /** The first step that this run had not done before the fault. */
    private void awaitNewAttempt(long step) throws Exception {
        awaitStepAfter(step);
        if (!job.process().isAlive() && job.process().exitValue() != 0) {
            throw new AssertionError("the job gave up: " + Files.readString(job.out()) + Files.readString(job.err()));
        }
    }

    private static long newestStep(JobProcess job) {
        try {
            Matcher steps = STEP.matcher(Files.readString(job.out(), StandardCharsets.UTF_8));
            long newest = 0;
            while (steps.find()) {
                newest = Math.max(newest, Long.parseLong(steps.group(1)));
            }
            return newest;
        } catch (IOException e) {
            return 0;
        }
    }
}
