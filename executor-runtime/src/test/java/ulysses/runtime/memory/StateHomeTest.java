package ulysses.runtime.memory;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class StateHomeTest {
    private static final String SMALL_DISK = "mount -t tmpfs -o size=16m tmpfs \"$0\" && exec \"$@\"";

    @TempDir
    private Path folder;

    @Test
    void mappedStatesAreZerosAndLeaveNoFile() throws IOException {
        int elements = 3_000_001; // more than a block of zeros, and no multiple of one

        try (Tensor states = StateHome.mappedIn(folder).zeros(elements)) {
            assertThat(states.numel()).isEqualTo(elements);
            assertThat(TensorArrays.values(states)).containsOnly(0.0);
        }

        try (var files = Files.list(folder)) {
            assertThat(files).isEmpty();
        }
    }

    /** Each file fits a disk of 16 MiB, all of them don't; where this machine lets a user make such a disk. */
    @Test
    void filesThatDoNotFitTogetherAreRefusedBeforeTheyAreFilled() throws Exception {
        assumeThat(canMount()).as("a user may mount a small file system here").isTrue();

        List<String> said = run(10, 2);

        assertThat(said.get(0)).isEqualTo("made 1");
        assertThat(said.get(1))
                .startsWith("no file for optimizer states in " + folder)
                .contains("free space, or set offload_optimizer: false");
    }

    private boolean canMount() throws IOException, InterruptedException {
        try {
            return new ProcessBuilder("unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", folder.toString())
                            .start()
                            .waitFor()
                    == 0;
        } catch (IOException noSuchProgram) {
            return false;
        }
    }

    private List<String> run(int mebibytes, int count) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(
                        "unshare",
                        "-rm",
                        "sh",
                        "-c",
                        SMALL_DISK,
                        folder.toString(),
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-cp",
                        System.getProperty("java.class.path"),
                        MappedStates.class.getName(),
                        folder.toString(),
                        Integer.toString(mebibytes),
                        Integer.toString(count))
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(said).isZero();
        return said.lines().toList();
    }
}
