package ulysses.runtime.memory;

import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * Where tensors go that nobody needs for a while: off the memory that is short. Called from one thread; copies go on beside it.
 *
 * <p>On CUDA that is pinned host memory, over a stream of its own; on the CPU files, written and read by a thread of its own. Written
 * and not mapped: a full disk is then an exception and not a signal that ends the process.
 */
public interface Offload extends AutoCloseable {

    /** Starts to copy {@code tensors} away, which must not be changed until they are {@link Away#sent}. */
    Away send(List<Tensor> tensors);

    @Override
    void close();

    /** Tensors that are away. Closing forgets them. */
    interface Away extends AutoCloseable {

        /** Waits until the copy no longer needs what was sent. */
        void sent();

        /** Starts to bring them back; a second call does nothing. */
        void fetch();

        /** The same tensors, contiguous, in order; whoever calls this closes them. Once. */
        List<Tensor> back();

        @Override
        void close();
    }

    /** In files under {@code folder}. They have no name while they are open, so nothing is left of them however the process ends. */
    static Offload toFiles(Path folder) {
        return new FileOffload(folder);
    }

    /** From the CUDA device {@code deviceIndex} to host memory. */
    static Offload toHost(int deviceIndex) {
        return new PinnedOffload(deviceIndex);
    }
}
