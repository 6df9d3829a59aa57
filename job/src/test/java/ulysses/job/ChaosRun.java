package ulysses.job;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.function.ToDoubleFunction;
import ulysses.job.Chaos.Fault;
import ulysses.job.Chaos.Recovery;

/**
 * Trains once in peace and once while faults are drawn at random, all kinds alike often. Says how long each took until the driver
 * noticed it and until the next step was done, and compares the weights bit for bit.
 *
 * <pre>mvn -B -q -pl executor-runtime,driver,job test-compile; java -cp ... ulysses.job.ChaosRun FOLDER FAULTS SEED</pre>
 */
final class ChaosRun {
    private static final int STEPS_PER_FAULT = 20;

    private ChaosRun() {}

    public static void main(String[] given) throws Exception {
        Path folder = Files.createDirectories(Path.of(given[0]).toAbsolutePath());
        int faults = Integer.parseInt(given[1]);
        long seed = Long.parseLong(given[2]);
        System.out.printf("seed %d, %d faults%n", seed, faults);
        String[] more = {"max_steps=" + STEPS_PER_FAULT * (faults + 2), "max_attempts=5", "save_total_limit=5"};
        Path peace = folder.resolve("peace");
        try (JobProcess undisturbed =
                JobProcess.start(folder, List.of(), List.of(ResumeTest.arguments(folder, peace, more)))) {
            succeeded(undisturbed);
        }
        Path war = folder.resolve("war");
        Random random = new Random(seed);
        List<Recovery> recoveries = new ArrayList<>();
        try (Chaos chaos = Chaos.begin(folder, war, random, ResumeTest.arguments(folder, war, more))) {
            for (Fault fault : drawn(faults, random)) {
                recoveries.add(chaos.endure(fault));
                System.out.println(line(recoveries.size(), recoveries.get(recoveries.size() - 1)));
            }
            succeeded(chaos.job());
            System.out.printf("%d faults, %d submissions%n", faults, chaos.submissions());
        }
        Arrays.stream(Fault.values()).forEach(fault -> summarize(fault, recoveries));
        compare(peace, war);
    }

    private static List<Fault> drawn(int faults, Random random) {
        List<Fault> drawn = new ArrayList<>();
        while (drawn.size() < faults) {
            List<Fault> each = new ArrayList<>(List.of(Fault.values()));
            Collections.shuffle(each, random);
            drawn.addAll(each);
        }
        return drawn.subList(0, faults);
    }

    private static void succeeded(JobProcess job) throws InterruptedException {
        if (!job.process().waitFor(30, TimeUnit.MINUTES)) {
            throw new AssertionError("still running after 30 minutes");
        }
        job.await().succeeded();
    }

    private static String line(int number, Recovery recovery) {
        return String.format(
                Locale.ROOT,
                "%2d  %-24s at step %4d: noticed after %5.1f s, next step after %5.1f s  %s",
                number,
                recovery.fault(),
                recovery.step(),
                recovery.noticed(),
                recovery.nextStep(),
                recovery.message());
    }

    private static void summarize(Fault fault, List<Recovery> all) {
        List<Recovery> some =
                all.stream().filter(recovery -> recovery.fault() == fault).toList();
        if (!some.isEmpty()) {
            System.out.printf(
                    Locale.ROOT,
                    "| %s | %d | %s | %s |%n",
                    fault,
                    some.size(),
                    medianAndMost(some, Recovery::noticed),
                    medianAndMost(some, Recovery::nextStep));
        }
    }

    private static String medianAndMost(List<Recovery> some, ToDoubleFunction<Recovery> seconds) {
        double[] sorted = some.stream().mapToDouble(seconds).sorted().toArray();
        return String.format(Locale.ROOT, "%.1f; %.1f s", sorted[sorted.length / 2], sorted[sorted.length - 1]);
    }

    private static void compare(Path peace, Path war) throws IOException {
        long different = Files.mismatch(peace.resolve("model.safetensors"), war.resolve("model.safetensors"));
        System.out.println("weights: " + (different < 0 ? "bit for bit equal" : "DIFFERENT from byte " + different));
        if (different >= 0) {
            throw new AssertionError("another run than the one in peace");
        }
    }
}
