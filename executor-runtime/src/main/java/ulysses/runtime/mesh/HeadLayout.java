package ulysses.runtime.mesh;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Which query and kv heads each rank of a sequence-parallel group computes. Query heads are dealt in order, the first N mod P ranks
 * getting one more; a rank gets exactly those kv heads that its query heads read, so where P does not divide K some kv heads are
 * sent to several ranks and their gradients summed (DeepSpeed-Ulysses, arXiv:2309.14509, section 3; numerics.md, rule 5).
 *
 * @param queryHeads N
 * @param kvHeads K, a divisor of N
 * @param ranks P, at most N
 */
public record HeadLayout(int queryHeads, int kvHeads, int ranks) {
    public HeadLayout {
        if (queryHeads < 1 || kvHeads < 1 || queryHeads % kvHeads != 0) {
            throw new IllegalArgumentException("num_attention_heads %d is not a multiple of num_key_value_heads %d"
                    .formatted(queryHeads, kvHeads));
        }
        if (ranks < 1 || ranks > queryHeads) {
            throw new IllegalArgumentException(
                    "num_attention_heads %d can't be split over sequence_parallel_size %d; use at most %d"
                            .formatted(queryHeads, ranks, queryHeads));
        }
    }

    /** First query head of {@code rank}. */
    public int firstQuery(int rank) {
        return rank * (queryHeads / ranks) + Math.min(rank, queryHeads % ranks);
    }

    /** Query heads of {@code rank}, n. */
    public int queries(int rank) {
        return queryHeads / ranks + (rank < queryHeads % ranks ? 1 : 0);
    }

    /** First kv head of {@code rank}. */
    public int firstKv(int rank) {
        return kvOf(firstQuery(rank));
    }

    /** Kv heads of {@code rank}, k. */
    public int kvs(int rank) {
        return kvOf(firstQuery(rank) + queries(rank) - 1) - firstKv(rank) + 1;
    }

    /** Most query heads that any rank has: those of the first. */
    public int mostQueries() {
        return queries(0);
    }

    /** Most kv heads that any rank has. */
    public int mostKvs() {
        return IntStream.range(0, ranks).map(this::kvs).max().orElseThrow();
    }

    /** Kv heads that attention of {@code rank} reads: k, or one for each query head where its groups are uneven. */
    public int kvsOfAttention(int rank) {
        return isGrouped(rank) ? kvs(rank) : queries(rank);
    }

    /** Most kv heads that attention of any rank reads. */
    public int mostKvsOfAttention() {
        return IntStream.range(0, ranks).map(this::kvsOfAttention).max().orElseThrow();
    }

    /** Heads that travel to all ranks together: N + 2K where P divides K. */
    public int packed() {
        return IntStream.range(0, ranks).map(this::packed).sum();
    }

    /** Heads that travel to {@code rank} when q, k and v are exchanged together: n + 2k. */
    public int packed(int rank) {
        return queries(rank) + 2 * kvs(rank);
    }

    /** For each query head of {@code rank}, which of its own kv heads it reads. */
    public List<Integer> kvOfQueries(int rank) {
        List<Integer> map = new ArrayList<>();
        for (int j = 0; j < queries(rank); j++) {
            map.add(kvOf(firstQuery(rank) + j) - firstKv(rank));
        }
        return map;
    }

    /** Whether local query head j reads local kv head j * k / n on {@code rank}, the rule that attention kernels know. */
    public boolean isGrouped(int rank) {
        int n = queries(rank);
        int k = kvs(rank);
        List<Integer> map = kvOfQueries(rank);
        for (int j = 0; j < n; j++) {
            if (n % k != 0 || map.get(j) != j / (n / k)) {
                return false;
            }
        }
        return true;
    }

    private int kvOf(int queryHead) {
        return queryHead / (queryHeads / kvHeads);
    }
}
