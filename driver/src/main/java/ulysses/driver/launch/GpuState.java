package ulysses.driver.launch;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.apache.spark.SparkConf;

/**
 * A GPU before a rank starts on it, as the driver's nvidia-smi tells.
 *
 * @param uuid the same whatever order devices are counted in
 * @param totalMib memory, MiB
 * @param usedMib what of it others hold
 * @param processes who computes on it, "pid name, MiB" each
 */
record GpuState(String uuid, long totalMib, long usedMib, List<String> processes) {
    private static final String IN_USE = "spark.ulysses.gpu.maxInUse";
    private static final String PROGRAM = "spark.ulysses.gpu.program";

    private static final int ANSWER_SECONDS = 20; // the first call after a boot loads the driver
    private static final int FREE_SECONDS = 20; // chosen: a rank of the attempt before may be about to go

    GpuState {
        processes = List.copyOf(processes);
    }

    /**
     * Waits until others hold little enough of {@code device} for a rank; empty if nobody can tell.
     *
     * @param host for the message
     * @param patienceSeconds at most so long
     * @throws LaunchException if it does not become free
     */
    static Optional<GpuState> whenFree(SparkConf conf, String device, String host, int patienceSeconds)
            throws InterruptedException {
        double share = conf.getDouble(IN_USE, 0.1);
        String program = conf.get(PROGRAM, "nvidia-smi");
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(Math.min(FREE_SECONDS, patienceSeconds));
        Optional<GpuState> state = of(program, device);
        while (state.isPresent() && state.get().usedMib() > share * state.get().totalMib()) {
            if (System.nanoTime() > end) {
                throw new LaunchException(
                        FailureKind.INFRASTRUCTURE, state.get().inUse(host, share));
            }
            Thread.sleep(500);
            state = of(program, device);
        }
        return state;
    }

    /**
     * Asks {@code program} for {@code device}, an index as the program counts or a UUID; empty if the program is not there or can't
     * tell, as of a slice of a GPU.
     */
    private static Optional<GpuState> of(String program, String device) throws InterruptedException {
        String[] figures = fields(query(program, device, "--query-gpu=uuid,memory.total,memory.used"));
        if (figures.length != 3 || !figures[1].matches("\\d{1,12}") || !figures[2].matches("\\d{1,12}")) {
            return Optional.empty();
        }
        List<String> processes = query(program, device, "--query-compute-apps=pid,process_name,used_memory")
                .lines()
                .filter(line -> !line.isBlank())
                .map(line -> line.strip() + " MiB")
                .toList();
        return Optional.of(new GpuState(figures[0], Long.parseLong(figures[1]), Long.parseLong(figures[2]), processes));
    }

    private static String[] fields(String line) {
        return Arrays.stream(line.strip().split(",")).map(String::strip).toArray(String[]::new);
    }

    /** What the program prints, or nothing. */
    private static String query(String program, String device, String what) throws InterruptedException {
        try {
            Process process = new ProcessBuilder(program, what, "--format=csv,noheader,nounits", "-i", device)
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start();
            process.getOutputStream().close();
            boolean ended = process.waitFor(ANSWER_SECONDS, TimeUnit.SECONDS); // it prints less than a pipe holds
            if (!ended) {
                process.destroyForcibly();
            }
            return ended && process.exitValue() == 0
                    ? new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
                    : "";
        } catch (IOException e) {
            return ""; // no such program
        }
    }

    /** That it is not free, and what to do. */
    private String inUse(String host, double share) {
        String who = processes.isEmpty()
                ? "no process is listed, so it may be one of another container"
                : "by " + String.join("; ", processes);
        return "GPU %s of host %s has %d of %d MiB in use before the rank starts (%s), more than %.0f %%: end what holds it, keep Spark off this GPU, or raise --conf %s"
                .formatted(uuid, host, usedMib, totalMib, who, 100 * share, IN_USE);
    }
}
