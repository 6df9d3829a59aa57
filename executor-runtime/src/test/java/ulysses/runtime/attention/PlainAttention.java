package ulysses.runtime.attention;

import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorArrays;

/** Fixture: attention as it is defined, with all S x S scores and a mask made cell by cell. */
public final class PlainAttention {
    private PlainAttention() {}

    /** softmax(q kᵀ / √H + mask) v: q [S,N,H], k and v [S,K,H] to [S,N,H]; {@code window} 0 means all before. */
    public static Tensor apply(Tensor q, Tensor k, Tensor v, SequenceLayout layout, int window) {
        Tensor heads = kvOfQueries(q.size(1), k.size(1));
        Tensor queries = q.transpose(0, 1); // [N,S,H]
        Tensor keys = k.index_select(1, heads).transpose(0, 1); // [N,S,H]
        Tensor values = v.index_select(1, heads).transpose(0, 1); // [N,S,H]
        Tensor scores =
                queries.matmul(keys.transpose(1, 2)).mul(new Scalar(1 / Math.sqrt((double) q.size(2)))); // [N,S,S]
        Tensor mask = mask(layout, window).to(scores.scalar_type()); // [S,S]
        return torch.softmax(scores.add(mask), 2).matmul(values).transpose(0, 1); // [S,N,H]
    }

    private static Tensor kvOfQueries(long queryHeads, long kvHeads) {
        return torch.tensor(IntStream.range(0, (int) queryHeads)
                .mapToLong(j -> j * kvHeads / queryHeads)
                .toArray());
    }

    /** 0 where a query sees a key: same document, not later, and fewer than {@code window} tokens back; else -inf. */
    private static Tensor mask(SequenceLayout layout, int window) {
        int length = layout.length();
        int[] documents = new int[length];
        for (int d = 0; d < layout.documents(); d++) {
            for (int t = layout.start(d); t < layout.start(d) + layout.length(d); t++) {
                documents[t] = d;
            }
        }
        double[] cells = new double[length * length];
        for (int i = 0; i < length; i++) {
            for (int j = 0; j < length; j++) {
                boolean seen = documents[i] == documents[j] && j <= i && (window == 0 || i - j < window);
                cells[i * length + j] = seen ? 0 : Double.NEGATIVE_INFINITY;
            }
        }
        return TensorArrays.tensor(cells, length, length);
    }
}
