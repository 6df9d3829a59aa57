package ulysses.runtime.attention;

import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Tensor;

/** A copy of its kv head for every query head: for kernels that know no grouped heads, or are slower with them. */
final class KvCopies {

    private KvCopies() {}

    /** [S,k,H] to [S,n,H]: each kv head once for every query head that uses it. */
    static Tensor repeated(Tensor kv, Tensor q) {
        long copies = q.size(1) / kv.size(1);
        return copies == 1 ? kv : kv.repeat_interleave(copies, new LongOptional(1), new LongOptional());
    }

    /** Backward of {@link #repeated}. */
    static Tensor summed(Tensor dRepeated, Tensor kv) {
        long copies = dRepeated.size(1) / kv.size(1);
        return copies == 1
                ? dRepeated
                : dRepeated.reshape(kv.size(0), kv.size(1), copies, kv.size(2)).sum(2);
    }
}
