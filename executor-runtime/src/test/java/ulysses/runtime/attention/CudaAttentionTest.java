package ulysses.runtime.attention;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.memory.TensorScope;

/** What can be said of the CUDA kernels without a GPU: which one is asked. Their numbers are GpuCheck's. */
final class CudaAttentionTest {

    @ParameterizedTest(name = "window {0}, bf16 {1}: {2}")
    @CsvSource({
        "0,false,_efficient_attention_forward",
        "8,false,_efficient_attention_forward",
        "0,true,_flash_attention_forward",
        "8,true,_flash_attention_forward"
    })
    void choosesTheKernelByType(int window, boolean bf16, String kernel) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor x = torch.ones(40, 2, 8).to(bf16 ? torch.ScalarType.BFloat16 : torch.ScalarType.Float);
            SequenceLayout layout = new SequenceLayout(new int[] {0, 9, 40});

            assertThatThrownBy(() -> CoreAttention.on(Device.CUDA, AttentionPattern.window(window))
                            .forward(new Qkv(x, x, x), layout))
                    .hasMessageContaining(kernel); // host memory: the dispatcher finds no kernel
        }
    }

    @ParameterizedTest(name = "{1} local blocks of {0}, {2} sinks")
    @CsvSource({"1,8,1", "16,2,0"})
    void refusesWhatItsKernelsCannotDo(int block, int local, int sinks) {
        AttentionPattern pattern = new AttentionPattern(block, local, sinks);

        assertThatThrownBy(() -> CoreAttention.on(Device.CUDA, pattern))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("on CUDA use attention_window alone, or dense attention");
    }
}
