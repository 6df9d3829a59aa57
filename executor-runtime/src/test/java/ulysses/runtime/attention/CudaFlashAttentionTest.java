package ulysses.runtime.attention;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.memory.TensorScope;

/** What can be said of the CUDA kernel without a GPU: what it refuses. Its numbers are not tested here. */
final class CudaFlashAttentionTest {

    private static final SequenceLayout LAYOUT = new SequenceLayout(new int[] {0, 4});

    @Test
    void refusesFloat32AndSaysWhatToSet() {
        try (TensorScope scope = TensorScope.open()) {
            Tensor x = torch.ones(4, 2, 8);

            assertThatThrownBy(() -> CoreAttention.on(Device.CUDA, 0).forward(new Qkv(x, x, x), LAYOUT))
                    .hasMessage("flash attention on CUDA computes in bfloat16, the model is Float; set bf16: true");
        }
    }

    @Test
    void takesBfloat16ToTheKernel() {
        try (TensorScope scope = TensorScope.open()) {
            Tensor x = torch.ones(4, 2, 8).to(torch.ScalarType.BFloat16);

            assertThatThrownBy(() -> CoreAttention.on(Device.CUDA, 0).forward(new Qkv(x, x, x), LAYOUT))
                    .hasMessageContaining("_flash_attention_forward"); // host memory: the dispatcher finds no kernel
        }
    }
}
