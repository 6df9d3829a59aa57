package ulysses.runtime.objective;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.AtenOperator;

/**
 * Logits of one tile of tokens as a softmax over the vocabulary, made in their place, so that no second float32 tensor of their size
 * [t,V] exists. Everything belongs to the caller's innermost scope.
 */
sealed interface LogitTile {

    /** Of {@code hidden} [t,D] under the head [V,D] at {@code targets} [t,1], int64. */
    static LogitTile of(Tensor hidden, Tensor head, Tensor targets) {
        return hidden.is_cuda() ? OnCuda.of(hidden, head, targets) : OnCpu.of(hidden, head, targets);
    }

    /** Log-probabilities of the targets [t,1], float32. */
    Tensor logProbabilities();

    /** The cross-entropy's gradient [t,V]: probabilities, minus one at the target. Once; they are lost. */
    Tensor gap();

    /** The exact gap in float32. */
    record OnCpu(Tensor probabilities, Tensor targets, Tensor logProbabilities) implements LogitTile {

        static OnCpu of(Tensor hidden, Tensor head, Tensor targets) {
            Tensor logits = torch.linear(hidden, head).to(torch.ScalarType.Float);
            Tensor shifted = logits.sub_(logits.amax(new long[] {1}, true)); // at most 0
            Tensor picked = shifted.gather(1, targets); // [t,1]
            Tensor exponentials = shifted.exp_();
            Tensor total = exponentials.sum(new long[] {1}, true, null); // [t,1]
            return new OnCpu(exponentials.div_(total), targets, picked.sub(total.log()));
        }

        @Override
        public Tensor gap() {
            Tensor minusOne = torch.full_like(targets, new Scalar(-1.0)).to(torch.ScalarType.Float);
            return probabilities.scatter_add_(1, targets, minusOne);
        }
    }

    /**
     * There, memory's bandwidth is what passes over [t,V] wait for: the product writes float32 without a bfloat16 tensor before it, one
     * kernel makes the softmax, and the gap is written in the type of the next products, each element rounded once.
     *
     * @param logProbabilitiesOfAll [t,V]
     */
    record OnCuda(Tensor logProbabilitiesOfAll, Tensor targets, Tensor logProbabilities, torch.ScalarType type)
            implements LogitTile {

        /** a b in float32 with a and b in bfloat16. */
        private static final AtenOperator WIDENING_MM = AtenOperator.named("mm", "dtype");

        private static final AtenOperator LOG_SOFTMAX = AtenOperator.named("_log_softmax", "out");

        static OnCuda of(Tensor hidden, Tensor head, Tensor targets) {
            torch.ScalarType type = hidden.scalar_type().intern();
            Tensor logits = type == torch.ScalarType.Float
                    ? torch.linear(hidden, head)
                    : WIDENING_MM.call(hidden, head.t(), (long) torch.ScalarType.Float.value)[0];
            LOG_SOFTMAX.call(logits, 1L, false, logits);
            return new OnCuda(logits, targets, logits.gather(1, targets), type);
        }

        @Override
        public Tensor gap() {
            Tensor all = logProbabilitiesOfAll;
            TensorOptions narrow = all.options().dtype(new ScalarTypeOptional(type));
            Tensor gap = type == torch.ScalarType.Float
                    ? all.exp_()
                    : torch.exp_out(torch.empty(all.sizes(), narrow, null), all);
            return gap.scatter_(1, targets, logProbabilities.expm1().to(type));
        }
    }
}
