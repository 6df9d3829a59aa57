package ulysses.runtime.collective;

import java.util.Arrays;
import org.bytedeco.pytorch.Tensor;
import ulysses.runtime.collective.Collectives.Operation;

/** Refuses calls that would hang, crash or mix up ranks inside the network library. */
final class GroupChecks {
    private GroupChecks() {}

    static void allToAll(Collectives group, Tensor out, Tensor in, long[] outSplits, long[] inSplits) {
        splits(group, "output", out, outSplits);
        splits(group, "input", in, inSplits);
        sameType(group, Operation.ALL_TO_ALL, out, in);
        if (outSplits[group.rank()] != inSplits[group.rank()]) {
            throw refuse(
                    group,
                    Operation.ALL_TO_ALL,
                    "own part is %d rows in the output and %d in the input; they must be equal"
                            .formatted(outSplits[group.rank()], inSplits[group.rank()]));
        }
        if (out.numel() * in.size(0) != in.numel() * out.size(0)) {
            throw refuse(
                    group,
                    Operation.ALL_TO_ALL,
                    "rows differ: output %s, input %s; everything below the first axis must have the same size"
                            .formatted(
                                    Arrays.toString(out.sizes().vec().get()),
                                    Arrays.toString(in.sizes().vec().get())));
        }
    }

    /** {@code whole} has {@code size()} times the elements of {@code part}. */
    static void parts(Collectives group, Operation operation, Tensor whole, Tensor part) {
        contiguous(group, operation, whole);
        contiguous(group, operation, part);
        sameType(group, operation, whole, part);
        if (whole.numel() != group.size() * part.numel()) {
            throw refuse(
                    group,
                    operation,
                    "the whole has %d elements and a part %d; the whole must be %d times a part"
                            .formatted(whole.numel(), part.numel(), group.size()));
        }
    }

    static void root(Collectives group, int root) {
        if (root < 0 || root >= group.size()) {
            throw refuse(group, Operation.BROADCAST, "root %d is outside of 0..%d".formatted(root, group.size() - 1));
        }
    }

    static void contiguous(Collectives group, Operation operation, Tensor tensor) {
        if (!tensor.is_contiguous()) {
            throw refuse(group, operation, "a tensor is not contiguous; pass x.contiguous()");
        }
    }

    private static void splits(Collectives group, String which, Tensor tensor, long[] splits) {
        contiguous(group, Operation.ALL_TO_ALL, tensor);
        long sum = Arrays.stream(splits).sum();
        if (splits.length != group.size() || tensor.dim() < 1 || sum != tensor.size(0) || min(splits) < 0) {
            throw refuse(
                    group,
                    Operation.ALL_TO_ALL,
                    "%s splits %s don't fit %s rows over %d ranks; one split a rank, and their sum is the first axis"
                            .formatted(
                                    which,
                                    Arrays.toString(splits),
                                    tensor.dim() < 1 ? "no" : String.valueOf(tensor.size(0)),
                                    group.size()));
        }
    }

    private static long min(long[] values) {
        return Arrays.stream(values).min().orElse(0);
    }

    private static void sameType(Collectives group, Operation operation, Tensor a, Tensor b) {
        // Enums from native calls are new objects: only their values compare.
        if (a.scalar_type().value != b.scalar_type().value) {
            throw refuse(group, operation, "dtypes differ: %s and %s".formatted(a.scalar_type(), b.scalar_type()));
        }
    }

    private static IllegalArgumentException refuse(Collectives group, Operation operation, String problem) {
        return new IllegalArgumentException(
                operation + " in " + group.name() + ", rank " + group.rank() + ": " + problem);
    }
}
