package ulysses.runtime.collective;

import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.PrefixStore;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.TCPStore;
import org.bytedeco.pytorch.TCPStoreOptions;
import ulysses.runtime.memory.TensorScope;

/**
 * Lives as long as the groups that met there: the key-value store at rank 0, and this rank's one connection to it.
 *
 * <p>Stores made by JavaCPP's constructors are not reference-counted: the first native object that takes one deletes it when done,
 * and Java deletes it again. So the two classes below make a store that Java leaves alone, hand it to libtorch, and get it back
 * counted. {@code Store.clone()} would do as well, but it connects anew, and each connection looks up a name for an address, which
 * takes 5 s where no name server answers.
 */
final class RendezvousStore implements AutoCloseable {
    private final Store store;
    private final int port;

    private RendezvousStore(Store store, int port) {
        this.store = store;
        this.port = port;
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
            TCPStore store = new UncountedTcpStore(rendezvous.storeHost(), options);
            return new RendezvousStore(counted(store), Short.toUnsignedInt(store.getPort()));
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

    /** A view whose keys start with {@code prefix}, owned by the caller; it keeps the connection open. */
    Store under(String prefix) {
        try (TensorScope scope = TensorScope.open()) {
            return counted(new UncountedPrefixStore(prefix, store));
        }
    }

    /** Hands {@code store} over to libtorch and owns what comes back. */
    private static Store counted(Store store) {
        return TensorScope.own(new PrefixStore("", store).getUnderlyingStore());
    }

    @Override
    public void close() {
        store.close();
    }

    private static final class UncountedTcpStore extends TCPStore {
        UncountedTcpStore(String host, TCPStoreOptions options) {
            super(host, options);
        }

        @Override
        @SuppressWarnings({"unchecked", "TypeParameterUnusedInFormals"}) // the signature is JavaCPP's
        protected <P extends Pointer> P deallocator(Deallocator deallocator) {
            return (P) this;
        }
    }

    private static final class UncountedPrefixStore extends PrefixStore {
        UncountedPrefixStore(String prefix, Store store) {
            super(prefix, store);
        }

        @Override
        @SuppressWarnings({"unchecked", "TypeParameterUnusedInFormals"}) // the signature is JavaCPP's
        protected <P extends Pointer> P deallocator(Deallocator deallocator) {
            return (P) this;
        }
    }
}
