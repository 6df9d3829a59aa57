package ulysses.runtime.collective;

import java.util.ArrayDeque;
import java.util.Deque;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.PrefixStore;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.TCPStore;
import org.bytedeco.pytorch.TCPStoreOptions;
import ulysses.runtime.memory.TensorScope;

/**
 * Lives as long as the groups that met there, and is closed after them: the key-value store at rank 0, and this rank's one
 * connection to it.
 */
final class RendezvousStore implements AutoCloseable {
    private final Deque<Handed> handed = new ArrayDeque<>();
    private final Store store;
    private final int port;

    private RendezvousStore(TCPStore store) {
        this.store = handOver(store);
        this.port = Short.toUnsignedInt(store.getPort());
    }

    /**
     * Binds the store at rank 0, connects to it elsewhere.
     *
     * @throws CollectiveException if that isn't possible within the rendezvous timeout
     */
    static RendezvousStore open(Rendezvous rendezvous) {
        boolean serves = rendezvous.rank() == 0;
        try (TensorScope scope = TensorScope.open()) {
            TCPStoreOptions options = new TCPStoreOptions();
            options.isServer(serves);
            options.port((short) rendezvous.storePort());
            options.waitWorkers(false);
            options.timeout(new Milliseconds(rendezvous.rendezvousTimeout().toMillis()));
            return new RendezvousStore(TensorScope.own(new TCPStore(rendezvous.storeHost(), options)));
        } catch (RuntimeException e) {
            throw new CollectiveException(
                    "rank %d can't %s the rendezvous store at %s:%d within %d s: %s. Look whether %s"
                            .formatted(
                                    rendezvous.rank(),
                                    serves ? "open" : "reach",
                                    rendezvous.storeHost(),
                                    rendezvous.storePort(),
                                    rendezvous.rendezvousTimeout().toSeconds(),
                                    CollectiveException.firstLine(e),
                                    serves
                                            ? "another process holds the port"
                                            : "rank 0 still runs and no firewall is between the hosts"),
                    e);
        }
    }

    /** Where the store listens. */
    int port() {
        return port;
    }

    /** A view whose keys start with {@code prefix}; lives as long as this store. */
    Store under(String prefix) {
        return handOver(TensorScope.own(new PrefixStore(prefix, store)));
    }

    private Store handOver(Store made) {
        Handed pair = Handed.of(made);
        handed.push(pair);
        return pair.counted();
    }

    @Override
    public void close() {
        while (!handed.isEmpty()) {
            handed.pop().close();
        }
    }

    /**
     * A store that native objects may share. What a constructor makes is not reference-counted: handing it to a native object
     * adds a reference that nobody takes back, and handing it over twice ends the process. So it is handed over once, to a prefix
     * store that gives it back counted; Java deletes the made one when all is over. {@code Store.clone()} would be counted too,
     * but connects anew, and each connection looks up a name for an address, 5 s where no name server answers.
     */
    private record Handed(Store made, Store counted) implements AutoCloseable {
        static Handed of(Store made) {
            try (TensorScope scope = TensorScope.open()) {
                return new Handed(made, TensorScope.own(new PrefixStore("", made).getUnderlyingStore()));
            }
        }

        @Override
        public void close() {
            counted.close();
            made.close();
        }
    }
}
