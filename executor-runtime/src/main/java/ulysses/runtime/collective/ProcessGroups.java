package ulysses.runtime.collective;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import ulysses.runtime.collective.BackendCollectives.Group;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.mesh.RankMesh;

/**
 * Lives for the run: the groups that one rank belongs to and the store they met at. All ranks open the world, the
 * sequence-parallel and the data-parallel group in this order, and close them in reverse.
 */
public final class ProcessGroups implements AutoCloseable {
    private final RendezvousStore store;
    private final Deque<BackendCollectives> backends;
    private final Collectives world;
    private final Collectives sequenceParallel;
    private final Collectives dataParallel;
    private boolean closed;

    /** Meets all ranks of {@code assignment}, and records what the groups do; see {@link #open(Rendezvous, IntConsumer)}. */
    public static ProcessGroups open(RankAssignment assignment, IntConsumer onStoreOpen, Timeline timeline) {
        return open(Rendezvous.of(assignment), onStoreOpen, timeline);
    }

    /**
     * Meets all other ranks and opens the groups. All ranks call it.
     *
     * @param onStoreOpen rank 0 gives it the port of its store before it waits for the others; other ranks never call it
     * @throws CollectiveException if a rank does not come in time: the message names it
     */
    public static ProcessGroups open(Rendezvous rendezvous, IntConsumer onStoreOpen) {
        return open(rendezvous, onStoreOpen, Timeline.OFF);
    }

    private static ProcessGroups open(Rendezvous rendezvous, IntConsumer onStoreOpen, Timeline timeline) {
        RendezvousStore store = RendezvousStore.open(rendezvous);
        Deque<BackendCollectives> backends = new ArrayDeque<>();
        try {
            if (rendezvous.rank() == 0) {
                onStoreOpen.accept(store.port());
            }
            return new ProcessGroups(rendezvous, store, backends, timeline);
        } catch (RuntimeException e) {
            closeAll(backends, store);
            throw e;
        }
    }

    private ProcessGroups(
            Rendezvous rendezvous, RendezvousStore store, Deque<BackendCollectives> backends, Timeline timeline) {
        this.store = store;
        this.backends = backends;
        RankMesh mesh = rendezvous.mesh();
        int dataRank = mesh.dataParallelRank(rendezvous.rank());
        int sequenceRank = mesh.sequenceParallelRank(rendezvous.rank());
        List<Integer> everyone = IntStream.range(0, mesh.worldSize()).boxed().toList();
        awaitEveryone(rendezvous, everyone);
        world = timeline.over(openGroup(rendezvous, "world", everyone));
        sequenceParallel = timeline.over(openGroup(
                rendezvous,
                "sequence-parallel group %d of %d".formatted(dataRank, mesh.dataParallelSize()),
                mesh.sequenceParallelGroup(dataRank)));
        dataParallel = timeline.over(openGroup(
                rendezvous,
                "data-parallel group %d of %d".formatted(sequenceRank, mesh.sequenceParallelSize()),
                everyone.stream()
                        .filter(rank -> mesh.sequenceParallelRank(rank) == sequenceRank)
                        .toList()));
        // Until all have opened their groups, rank 0's store must stay open: this rank might be rank 0 and close early.
        world.barrier();
    }

    /** All ranks. */
    public Collectives world() {
        return world;
    }

    /** The ranks that share this rank's sequences, in order of their parts. */
    public Collectives sequenceParallel() {
        return sequenceParallel;
    }

    /** The ranks that hold this rank's part of the sequence in the other sequence-parallel groups. */
    public Collectives dataParallel() {
        return dataParallel;
    }

    /**
     * Gives up after a failure: tells the libraries to stop waiting, as far as they can (NCCL). Gloo ends its operations on their
     * timeout; a process that wants to end earlier halts.
     */
    public void abort() {
        if (!closed) {
            backends.forEach(BackendCollectives::abort);
        }
    }

    /** Closes the groups in reverse order and the store last. A second call does nothing. Waits for operations in flight. */
    @Override
    public void close() {
        if (!closed) {
            closed = true;
            closeAll(backends, store);
        }
    }

    private static void closeAll(Deque<BackendCollectives> backends, RendezvousStore store) {
        backends.forEach(BackendCollectives::close);
        store.close();
    }

    private static Group group(Rendezvous rendezvous, String name, List<Integer> worldRanks) {
        return new Group(
                name,
                worldRanks.indexOf(rendezvous.rank()),
                worldRanks,
                rendezvous.operationTimeout(),
                rendezvous.deviceIndex());
    }

    private void awaitEveryone(Rendezvous rendezvous, List<Integer> everyone) {
        Group group = group(rendezvous, "rendezvous", everyone);
        String place = "rank %d waited at %s:%d for %d ranks"
                .formatted(rendezvous.rank(), rendezvous.storeHost(), store.port(), everyone.size());
        List<Integer> missing;
        try {
            Attendance attendance = Attendance.of(store, rendezvous.key() + "/rendezvous", group);
            attendance.report(0);
            missing = attendance.awaitEveryone(rendezvous.rendezvousTimeout());
        } catch (RuntimeException e) {
            throw new CollectiveException(
                    "%s and lost the store: %s. Rank 0 gave up or ended; look at its log, which names the missing ranks"
                            .formatted(place, CollectiveException.firstLine(e)),
                    e);
        }
        if (!missing.isEmpty()) {
            throw new CollectiveException(
                    "%s, %d s (rendezvous_timeout); missing: ranks %s. Look at their logs, or raise rendezvous_timeout if the cluster starts slowly"
                            .formatted(place, rendezvous.rendezvousTimeout().toSeconds(), missing));
        }
    }

    private Collectives openGroup(Rendezvous rendezvous, String name, List<Integer> worldRanks) {
        if (worldRanks.size() == 1) {
            return new SingleRank(name);
        }
        Group group = group(rendezvous, name, worldRanks);
        String prefix = rendezvous.key() + "/" + name.replace(' ', '-');
        try {
            BackendCollectives opened = switch (rendezvous.device()) {
                case CPU -> GlooCollectives.open(store, prefix, group, rendezvous.host());
                case CUDA -> NcclCollectives.open(store, prefix, group);
            };
            backends.push(opened);
            return opened;
        } catch (RuntimeException e) {
            throw new CollectiveException(
                    "rank %d can't connect to world ranks %s of %s from %s: %s. Look at their logs and whether they reach this address"
                            .formatted(
                                    rendezvous.rank(),
                                    worldRanks,
                                    name,
                                    rendezvous.host(),
                                    CollectiveException.firstLine(e)),
                    e);
        }
    }
}
