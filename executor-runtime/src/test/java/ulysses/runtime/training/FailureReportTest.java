package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import java.io.IOException;
import java.util.List;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.memory.TensorScope;

final class FailureReportTest {

    @Test
    void libtorchsStackIsLeftToTheLog() {
        Throwable thrown = catchThrowable(() -> {
            try (TensorScope scope = TensorScope.open()) {
                torch.matmul(torch.zeros(2, 3), torch.zeros(2, 3));
            }
        });
        assertThat(thrown.getMessage()).contains("\n");

        FailureReport report = FailureReport.of(thrown);

        assertThat(report.kind()).isEqualTo("internal");
        assertThat(report.message())
                .doesNotContain("\n")
                .startsWith("java.lang.RuntimeException: mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)")
                .endsWith("report it with this rank's log, which holds the whole trace");
    }

    @Test
    void aDeviceThatFailsMayDoBetterAgain() {
        Throwable ecc =
                new RuntimeException("CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might");
        Throwable fault = new RuntimeException("CUDA error: device-side assert triggered\nCUDA kernel errors might");

        assertThat(FailureReport.of(ecc))
                .isEqualTo(new FailureReport(
                        "infrastructure",
                        "java.lang.RuntimeException: CUDA error: uncorrectable ECC error encountered"));
        assertThat(FailureReport.of(fault).kind()).isEqualTo("internal");
    }

    @Test
    void whatIsOursIsSaidWhole() {
        ConfigException ours = new ConfigException("a.yaml", List.of("one", "two"));

        assertThat(FailureReport.of(ours))
                .isEqualTo(new FailureReport("config", "2 problems in a.yaml:\n- one\n- two"));
        assertThat(FailureReport.of(new IOException("no room")))
                .isEqualTo(new FailureReport("storage", "java.io.IOException: no room"));
    }
}
