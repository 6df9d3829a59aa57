package ulysses.runtime.memory;

import org.bytedeco.openblas.global.openblas_nolapack;
import org.bytedeco.pytorch.global.torch;

/** Settings of the native libraries that hold for the whole process. */
public final class NativeRuntime {
    private NativeRuntime() {}

    /**
     * Sets JavaCPP's switches; they count only if set before the first native class is loaded, and what the command line says
     * ({@code -Dorg.bytedeco.javacpp...}) goes first.
     */
    public static void configure() {
        // JavaCPP refuses allocations above 4 x -Xmx of resident memory; a rank's tensors have nothing to do with its
        // heap.
        setUnlessGiven("org.bytedeco.javacpp.maxBytes", "0");
        setUnlessGiven("org.bytedeco.javacpp.maxPhysicalBytes", "0");
        // Otherwise every load prints that openblas 0.3.31-1.5.13 (the last that was published) is older than javacpp
        // 1.5.14.
        setUnlessGiven("org.bytedeco.javacpp.logger", "slf4j");
    }

    /**
     * Lets local math use {@code threads} threads and runs one operator at a time: with more threads than cores, two ranks on one
     * host run at half speed. Call once, before any tensor is made.
     */
    public static void start(int threads) {
        if (threads < 1) {
            throw new IllegalArgumentException("threads %d is below 1".formatted(threads));
        }
        configure();
        torch.set_num_threads(threads);
        // The BLAS library has threads of its own, by default one a core, that wait for each other by spinning.
        openblas_nolapack.blas_set_num_threads(threads);
        if (torch.get_num_interop_threads() != 1) {
            torch.set_num_interop_threads(1);
        }
    }

    private static void setUnlessGiven(String key, String value) {
        if (System.getProperty(key) == null) {
            System.setProperty(key, value);
        }
    }
}
