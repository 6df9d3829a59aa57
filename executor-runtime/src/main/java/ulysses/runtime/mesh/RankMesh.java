package ulysses.runtime.mesh;

import java.util.List;
import java.util.stream.IntStream;

/**
 * The arrangement of all ranks: sequence-parallel groups are runs of neighbouring world ranks, so that with ranks sorted by host
 * a group stays inside one; rank = dataParallelRank * P + sequenceParallelRank.
 *
 * @param worldSize all ranks
 * @param sequenceParallelSize ranks that share one sequence, P
 */
public record RankMesh(int worldSize, int sequenceParallelSize) {
    public RankMesh {
        if (worldSize < 1 || sequenceParallelSize < 1 || worldSize % sequenceParallelSize != 0) {
            throw new IllegalArgumentException("number of ranks %d is not a multiple of sequence_parallel_size %d"
                    .formatted(worldSize, sequenceParallelSize));
        }
    }

    /** Sequence-parallel groups, that is, rows worked on at once. */
    public int dataParallelSize() {
        return worldSize / sequenceParallelSize;
    }

    /** Which group {@code worldRank} belongs to. */
    public int dataParallelRank(int worldRank) {
        return checked(worldRank) / sequenceParallelSize;
    }

    /** Which part of the sequence {@code worldRank} holds. */
    public int sequenceParallelRank(int worldRank) {
        return checked(worldRank) % sequenceParallelSize;
    }

    /** World ranks of a sequence-parallel group, in order of their parts of the sequence. */
    public List<Integer> sequenceParallelGroup(int dataParallelRank) {
        return IntStream.range(0, sequenceParallelSize)
                .mapToObj(p -> dataParallelRank * sequenceParallelSize + p)
                .toList();
    }

    private int checked(int worldRank) {
        if (worldRank < 0 || worldRank >= worldSize) {
            throw new IllegalArgumentException("rank %d is outside of 0..%d".formatted(worldRank, worldSize - 1));
        }
        return worldRank;
    }
}
