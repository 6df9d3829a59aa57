package ulysses.runtime.attention;

import static org.assertj.core.api.Assertions.assertThat;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.memory.TensorScope;

/** Some heads after the others, against all at once: not one bit differs. */
final class HeadsInTurnTest {

    private static final SequenceLayout LAYOUT = new SequenceLayout(new int[] {0, 9, 40});

    @ParameterizedTest(name = "{0} heads over {1}, {2} kv heads at once")
    @CsvSource({"6,3,1", "6,3,2", "4,4,3", "8,1,1"})
    void givesWhatAllHeadsAtOnceGive(int heads, int kvHeads, int atOnce) {
        try (TensorScope scope = TensorScope.open()) {
            Qkv qkv = new Qkv(random(heads), random(kvHeads), random(kvHeads));
            Tensor dOut = random(heads);
            CoreAttention whole = CoreAttention.on(Device.CPU, AttentionPattern.window(0));
            long elements = qkv.q().numel() / kvHeads * atOnce;
            CoreAttention inTurn =
                    new HeadsInTurn(whole, Math.min(elements, qkv.q().numel() - 1));

            CoreAttention.Output expected = whole.forward(qkv, LAYOUT);
            CoreAttention.Output found = inTurn.forward(qkv, LAYOUT);
            Qkv expectedGradients = whole.backward(dOut, qkv, expected, LAYOUT);
            Qkv foundGradients = inTurn.backward(dOut, qkv, found, LAYOUT);

            assertThat(torch.equal(found.out(), expected.out())).isTrue();
            assertThat(torch.equal(found.logsumexp(), expected.logsumexp())).isTrue();
            assertThat(torch.equal(foundGradients.q(), expectedGradients.q())).isTrue();
            assertThat(torch.equal(foundGradients.k(), expectedGradients.k())).isTrue();
            assertThat(torch.equal(foundGradients.v(), expectedGradients.v())).isTrue();
        }
    }

    private static Tensor random(long heads) {
        return torch.randn(LAYOUT.length(), heads, 16);
    }
}
