package ulysses.runtime.attention;

import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.memory.TensorArrays;

/** Fixture: attention as it is defined, with all S x S scores and a mask made cell by cell. */
public final class PlainAttention {
    private PlainAttention() {}

    /** softmax(q kᵀ / √H + mask) v: q [S,N,H], k and v [S,K,H] to [S,N,H]. */
    public static Tensor apply(Tensor q, Tensor k, Tensor v, SequenceLayout layout, AttentionPattern pattern) {
        Tensor heads = kvOfQueries(q.size(1), k.size(1));
        Tensor queries = q.transpose(0, 1); // [N,S,H]
        Tensor keys = k.index_select(1, heads).transpose(0, 1); // [N,S,H]
        Tensor values = v.index_select(1, heads).transpose(0, 1); // [N,S,H]
        Tensor scores =
                queries.matmul(keys.transpose(1, 2)).mul(new Scalar(1 / Math.sqrt((double) q.size(2)))); // [N,S,S]
        Tensor mask = mask(layout, pattern).to(scores.scalar_type()); // [S,S]
        return torch.softmax(scores.add(mask), 2).matmul(values).transpose(0, 1); // [S,N,H]
    }

    private static Tensor kvOfQueries(long queryHeads, long kvHeads) {
        return torch.tensor(IntStream.range(0, (int) queryHeads)
                .mapToLong(j -> j * kvHeads / queryHeads)
                .toArray());
    }

    /** 0 where a query sees a key: same document, not later, and few enough blocks back or a sink; else -inf. */
    private static Tensor mask(SequenceLayout layout, AttentionPattern pattern) {
        int length = layout.length();
        int[] documents = new int[length];
        int[] starts = new int[length];
        for (int d = 0; d < layout.documents(); d++) {
            for (int t = layout.start(d); t < layout.start(d) + layout.length(d); t++) {
                documents[t] = d;
                starts[t] = layout.start(d);
            }
        }
        double[] cells = new double[length * length];
        for (int i = 0; i < length; i++) {
            for (int j = 0; j < length; j++) {
                boolean seen = documents[i] == documents[j] && j <= i && sees(i - starts[i], j - starts[j], pattern);
                cells[i * length + j] = seen ? 0 : Double.NEGATIVE_INFINITY;
            }
        }
        return TensorArrays.tensor(cells, length, length);
    }

    private static boolean sees(int query, int key, AttentionPattern pattern) {
        int blocksBack = query / pattern.blockTokens() - key / pattern.blockTokens();
        return pattern.localBlocks() == 0 || blocksBack < pattern.localBlocks() || key < pattern.sinks();
    }
}
