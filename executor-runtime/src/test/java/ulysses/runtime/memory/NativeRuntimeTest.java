package ulysses.runtime.memory;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.bytedeco.openblas.global.openblas_nolapack;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NativeRuntimeTest {

    @Test
    void setsThreadsOfLocalMath() {
        NativeRuntime.start(2);
        assertThat(torch.get_num_threads()).isEqualTo(2);
        assertThat(openblas_nolapack.blas_get_num_threads()).isEqualTo(2);
        assertThat(torch.get_num_interop_threads()).isEqualTo(1);

        NativeRuntime.start(1);
        assertThat(torch.get_num_threads()).isEqualTo(1);
        assertThat(openblas_nolapack.blas_get_num_threads()).isEqualTo(1);
    }

    @Test
    void refusesLessThanOneThread() {
        assertThatThrownBy(() -> NativeRuntime.start(0)).hasMessage("threads 0 is below 1");
    }

    @Test
    void tensorsMayBeMuchLargerThanTheJavaHeap(@TempDir Path directory) throws Exception {
        // JavaCPP's own limit is four heaps of resident memory: 128 MiB here, less than libtorch itself takes.
        Path output = Files.createTempFile(directory, "large-tensor", ".txt");
        Process process = new ProcessBuilder(
                        System.getProperty("java.home") + "/bin/java",
                        "-Xmx32m",
                        "-cp",
                        System.getProperty("java.class.path"),
                        LargeTensor.class.getName())
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();

        boolean ended = process.waitFor(60, TimeUnit.SECONDS);
        process.destroyForcibly();

        assertThat(ended).as(Files.readString(output)).isTrue();
        assertThat(output).content().contains("sum 67108864").doesNotContain("do not match");
        assertThat(process.exitValue()).isZero();
    }

    static final class LargeTensor {
        private LargeTensor() {}

        public static void main(String[] arguments) {
            try (TensorScope scope = TensorScope.open()) {
                Tensor tensor = torch.ones(64 << 20); // 256 MiB
                System.out.println("sum " + tensor.sum().item_long());
            }
        }
    }

    @Test
    void anImpossibleAllocationNamesWhatToLower() {
        try (TensorScope scope = TensorScope.open()) {
            RuntimeException failure = failureOf(1L << 50);

            RuntimeException explained = DeviceMemory.host().explain(failure);

            assertThat(explained)
                    .isInstanceOf(DeviceMemory.OutOfDeviceMemoryException.class)
                    .hasMessageContaining("tried to allocate")
                    .hasMessageContaining("MiB in use")
                    .hasMessageContaining("Lower cutoff_len or per_device_train_batch_size")
                    .hasMessageContaining("raise sequence_parallel_size")
                    .hasCause(failure);
            assertThat(explained.getMessage()).doesNotContain("frame #");
        }
    }

    @Test
    void otherFailuresStayAsTheyAre() {
        RuntimeException failure = new IllegalStateException("shapes differ");

        assertThat(DeviceMemory.host().explain(failure)).isSameAs(failure);
    }

    @Test
    void countsResidentMemoryAndRemembersThePeak() {
        DeviceMemory memory = DeviceMemory.host();
        try (TensorScope scope = TensorScope.open()) {
            Tensor tensor = torch.ones(64 << 20);
            assertThat(memory.current()).isGreaterThan(tensor.nbytes());
        }

        assertThat(memory.peak()).isGreaterThan(256L << 20);
    }

    private static RuntimeException failureOf(long elements) {
        try {
            Tensor tensor = torch.empty(elements);
            throw new AssertionError("could allocate " + tensor.nbytes() + " bytes");
        } catch (RuntimeException e) {
            return e;
        }
    }
}
