package ulysses.runtime.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.weights.Folder;

/** A disk that is full while a checkpoint is written: one message, and the newest complete checkpoint still loads. */
final class FullDiskTest {
    private static final String SMALL_DISK =
            "mount -t tmpfs -o size=256k tmpfs \"$1\" && mkdir \"$1/model\" && cp \"$0\"/* \"$1/model\"";

    @TempDir
    private Path folder;

    /** A file may not grow beyond 512 or 1024 bytes, which no checkpoint file keeps to: the kernel refuses the rest. */
    @Test
    void aWriteThatIsCutOffLeavesTheCheckpointBefore() throws Exception {
        CheckpointRun.save(at("out"), CheckpointRun.model(at("model")), 1, 7, 2);

        List<String> said = run(List.of("sh", "-c", "ulimit -f 1 && exec \"$@\"", "sh"), folder, 8);

        assertThat(said.subList(0, 3)).containsExactly("saved 7", "newest 7", "unfinished false");
        assertThat(said.get(3))
                .startsWith("can't write " + folder.resolve("out/checkpoint-8"))
                .contains(
                        "File too large; the disk is full: free space there, keep fewer checkpoints (save_total_limit)")
                .endsWith("run the same command again; what was complete before is untouched");
    }

    /** A file system of 256 KiB, where this machine lets a user make one. */
    @Test
    void saysThatTheDiskIsFull() throws Exception {
        CheckpointRun.model(at("model"));
        Path disk = Files.createDirectory(folder.resolve("disk"));
        assumeThat(canMount(disk))
                .as("a user may mount a small file system here")
                .isTrue();

        List<String> said = run(
                List.of(
                        "unshare",
                        "-rm",
                        "sh",
                        "-c",
                        SMALL_DISK + " && shift 1 && exec \"$@\"",
                        folder.resolve("model").toString(),
                        disk.toString()),
                disk,
                1);

        long saved = Long.parseLong(said.get(0).replace("saved ", ""));
        assertThat(saved).isPositive();
        assertThat(said.subList(1, 3)).containsExactly("newest " + saved, "unfinished false");
        assertThat(said.get(3))
                .startsWith("can't write " + disk.resolve("out/checkpoint-" + (saved + 1)))
                .contains("No space left on device; the disk is full: free space there");
    }

    private Folder at(String name) {
        return Folder.at(folder.resolve(name).toString(), new Configuration(false));
    }

    private static boolean canMount(Path disk) throws IOException, InterruptedException {
        try {
            return new ProcessBuilder("unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", disk.toString())
                            .start()
                            .waitFor()
                    == 0;
        } catch (IOException noSuchProgram) {
            return false;
        }
    }

    /** What the run in {@code where} says, started by {@code prefix}. */
    private static List<String> run(List<String> prefix, Path where, long step)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(prefix);
        command.addAll(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:-UsePerfData", // its file would be too large, too
                "-cp",
                System.getProperty("java.class.path"),
                FullDisk.class.getName(),
                where.toString(),
                Long.toString(step)));
        Process process = new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(said).isZero();
        return said.lines().toList();
    }
}
