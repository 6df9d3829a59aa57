package ulysses.driver.launch;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/**
 * A GPU before a rank starts on it, as the driver's nvidia-smi tells.
 *
 * @param uuid the same whatever order devices are counted in
 * @param totalMib memory, MiB
 * @param usedMib what of it others hold
 * @param processes who computes on it, "pid name, MiB" each
 */
record GpuState(String uuid, long totalMib, long usedMib, List<String> processes) {
    private static final int PATIENCE_SECONDS = 20; // the first call after a boot loads the driver

    GpuState {
        processes = List.copyOf(processes);
    }

    /**
     * Asks {@code program} for {@code device}, an index as the program counts or a UUID; empty if the program is not there or can't
     * tell, as of a slice of a GPU.
     */
    static Optional<GpuState> of(String program, String device) throws InterruptedException {
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
            boolean ended = process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS); // it prints less than a pipe holds
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

    /** Whether others hold at most {@code share} of the memory. */
    boolean isFree(double share) {
        return usedMib <= share * totalMib;
    }

    /** That it is not free, and what to do. */
    String inUse(String host, double share) {
        String who = processes.isEmpty()
                ? "no process is listed, so it may be one of another container"
                : "by " + String.join("; ", processes);
        return "GPU %s of host %s has %d of %d MiB in use before the rank starts (%s), more than %.0f %%: end what holds it, keep Spark off this GPU, or raise --conf %s"
                .formatted(uuid, host, usedMib, totalMib, who, 100 * share, RankTask.GPU_IN_USE);
    }
}
