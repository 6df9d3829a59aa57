package ulysses.driver.report;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.concurrent.TimeUnit;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankEvent;

/**
 * Run by hand: what a browser makes of the status page, with everything on it that can be. Arguments: the browser, the picture to
 * write, how many ranks, the width in pixels.
 */
final class StatusPicture {
    private StatusPicture() {}

    public static void main(String[] arguments) throws Exception {
        ReportedRun files = new ReportedRun(Files.createTempDirectory("status-picture"));
        LiveRun run = LiveRun.of(files.arguments(files.told("")), files.read(), Clock.systemUTC());
        StatusServer server = StatusServer.start(new TrainingConfig.StatusPage("127.0.0.1", 0), run);
        happened(server, Integer.parseInt(arguments[2]));
        new ProcessBuilder(
                        arguments[0],
                        "--headless",
                        "--no-sandbox",
                        "--virtual-time-budget=3000",
                        "--window-size=" + arguments[3] + ",2400",
                        "--screenshot=" + Path.of(arguments[1]).toAbsolutePath(),
                        server.address())
                .inheritIO()
                .start()
                .waitFor(1, TimeUnit.MINUTES);
        server.end(RunRecord.Ending.DONE);
    }

    private static void happened(StatusServer run, int ranks) throws InterruptedException {
        for (int rank = 0; rank < ranks; rank++) {
            run.accept(new RankEvent.Placed(
                    rank,
                    "gpu-node-%03d.example.org".formatted(rank / 8),
                    "GPU-5f1d9c62-7f0e-4c1b-9c55-%012d".formatted(rank),
                    1));
        }
        run.accept(new RankEvent.Phase(0, "load", 0));
        int steps = 3_000;
        for (int step = 1; step <= steps; step++) {
            double wave = Math.sin(step * 12.9898) * 43758.5453;
            double noise = wave - Math.floor(wave);
            run.accept(new RankEvent.Step(
                    0,
                    step,
                    12_000,
                    step / 4000.0,
                    1.2 + 9 / Math.sqrt(step) + noise / 10,
                    0.3 + noise,
                    2e-5 * Math.min(1, step / 300.0),
                    1 << 20,
                    23 + noise,
                    71L << 30));
        }
        run.accept(new RankEvent.Saved(0, 2_500, "s3a://key:secret@models/contracts-8b/checkpoint-2500"));
        run.accept(new RankEvent.Warning(
                3,
                "step 2211: loss NaN, gradient norm NaN, not finite; rows 17, 4711; "
                        + "the step is skipped on all ranks"));
        run.accept(new RankEvent.Warning(0, "<script>alert('no text of a rank is code')</script>"));
        for (int rank = 0; rank < ranks; rank++) {
            run.accept(new RankEvent.Phase(rank, "step", rank == ranks - 2 ? steps - 1 : steps));
        }
        TimeUnit.SECONDS.sleep(6);
        for (int rank = 0; rank < ranks - 2; rank++) {
            run.accept(new RankEvent.Phase(rank, "step", steps));
        }
    }
}
