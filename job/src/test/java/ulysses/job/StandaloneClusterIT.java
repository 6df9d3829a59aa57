package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The distribution as a user gets it: unpacked into an empty folder, submitted with its own script to a standalone cluster of a
 * Master and two Workers. Runs behind {@code package}, since it needs what that makes.
 */
final class StandaloneClusterIT {

    @TempDir
    private static Path folder;

    private static StandaloneCluster cluster;
    private static Path unpacked;

    @BeforeAll
    static void unpack() throws IOException, InterruptedException {
        cluster = StandaloneCluster.start(folder, Path.of("target").toAbsolutePath());
        unpacked = cluster.spark().unpack(Path.of(System.getProperty("distribution")));
    }

    @AfterAll
    static void stop() {
        cluster.close();
    }

    /** The second submission trains on the rows that the first prepared: one pool may do the one, another the other. */
    @Test
    void preparesAndTrainsOnTwoWorkers() throws Exception {
        Path output = folder.resolve("out");

        JobRun prepared = submit("--device", "cpu", "prepare", "conf/quickstart.yaml", "--output_dir=" + output);
        JobRun trained = submit(
                "--device",
                "cpu",
                "conf/quickstart.yaml",
                "--output_dir=" + output,
                "--max_steps=2",
                "--logging_steps=1");

        assertThat(prepared.code()).as(prepared.err()).isZero();
        assertThat(prepared.out()).contains("training: 466 rows read");
        assertThat(trained.code()).as(trained.err()).isZero();
        assertThat(trained.out()).contains("done: 2 steps").contains("found prepared rows");
        assertThat(Files.readAllLines(output.resolve("trainer_log.jsonl"))).hasSizeGreaterThanOrEqualTo(2);
        assertThat(output.resolve("model.safetensors")).isNotEmptyFile();
        assertThat(JobRun.of("status", output.toString()).out())
                .containsPattern("state +done\n")
                .containsPattern("step +2\n");
        for (int worker = 0; worker < 2; worker++) {
            assertThat(folder.resolve("work-" + worker)).isNotEmptyDirectory(); // each ran an executor
        }
    }

    /** Ranks get as far as libtorch: each was given a GPU by Spark, and natives for CUDA are not in this build. */
    @Test
    void asksForAGpuOfItsOwnForEveryRank() throws Exception {
        JobRun run = submit("conf/quickstart.yaml", "--output_dir=" + folder.resolve("gpu"), "--bf16=true");

        assertThat(run.code()).isEqualTo(2);
        assertThat(run.err()).contains("libtorch finds no CUDA device here");
    }

    private static JobRun submit(String... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                unpacked.resolve("deploy/submit.sh").toString(),
                "--master",
                cluster.master(),
                "--ranks",
                "2",
                "--executor-memory",
                "1g",
                "--driver-memory",
                "512m"));
        command.addAll(List.of(arguments));
        return cluster.spark().run(unpacked, command);
    }
}
