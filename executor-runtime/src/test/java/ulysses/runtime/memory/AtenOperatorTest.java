package ulysses.runtime.memory;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;

final class AtenOperatorTest {

    @Test
    void callsAnOperatorByName() {
        try (TensorScope scope = TensorScope.open()) {
            Tensor[] result = AtenOperator.named("relu").call(torch.tensor(new float[] {-1, 2}));

            assertThat(TensorArrays.values(result[0])).containsExactly(0, 2);
        }
    }

    @Test
    void takesListsNumbersBooleansAndAbsentOptionals() {
        try (TensorScope scope = TensorScope.open()) {
            Tensor weight = torch.ones(2);
            List<Tensor> zeros = List.of(torch.zeros(2));
            AtenOperator.named("_fused_adamw_")
                    .call(
                            List.of(weight),
                            List.of(torch.ones(2)),
                            zeros,
                            List.of(torch.zeros(2)),
                            List.of(),
                            List.of(torch.ones(1)),
                            0.5,
                            0.0,
                            0.0,
                            0.0,
                            0.0,
                            false,
                            false,
                            null,
                            null);

            assertThat(TensorArrays.values(weight)).containsExactly(0.5, 0.5);
        }
    }

    @Test
    void refusesAWrongNumberOfArgumentsInsteadOfReadingOthers() {
        try (TensorScope scope = TensorScope.open()) {
            assertThatThrownBy(() -> AtenOperator.named("relu").call(torch.ones(1), true))
                    .hasMessage("aten::relu takes 1 arguments, not 2; its schema changes with libtorch");
            assertThatThrownBy(() -> AtenOperator.named("_fused_adamw_").call())
                    .hasMessageContaining("takes 15 arguments, not 0");
        }
    }

    @Test
    void refusesAnArgumentThatItCannotBox() {
        assertThatThrownBy(() -> AtenOperator.named("relu").call("text"))
                .hasMessage("aten::relu can't take a class java.lang.String");
    }
}
