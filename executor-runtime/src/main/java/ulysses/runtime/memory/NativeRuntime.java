package ulysses.runtime.memory;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.openblas.global.openblas_nolapack;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

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
        unpackCuda();
        shareIntelThreads();
        torch.set_num_threads(threads);
        // The BLAS library has threads of its own, by default one a core, that wait for each other by spinning.
        openblas_nolapack.blas_set_num_threads(threads);
        if (torch.get_num_interop_threads() != 1) {
            torch.set_num_interop_threads(1);
        }
    }

    /**
     * Unpacks the CUDA libraries of libtorch, where this build has them, before the first is loaded: JavaCPP unpacks one after the
     * other, and on a fresh host loads libtorch_cuda before what that needs is there, and goes on without it and without a word.
     */
    private static void unpackCuda() {
        String folder = "/org/bytedeco/pytorch/" + Loader.getPlatform() + "-gpu/lib";
        for (String library : List.of("gomp.so.1", "c10.so", "c10_cuda.so", "torch_cpu.so", "torch_cuda.so")) {
            unpacked(folder + library);
        }
    }

    /** The file of a library inside a jar of the class path; null when there is none. */
    private static @Nullable File unpacked(String resource) {
        try {
            return Loader.cacheResource(resource);
        } catch (IOException e) {
            throw new UncheckedIOException("cannot unpack " + resource + "; is the disk full?", e);
        }
    }

    /**
     * MKL computes on Intel's OpenMP library. Loaded for the whole process before libtorch, that library serves libtorch's loops too
     * (it answers to GNU's names), so both share one set of threads; loaded as JavaCPP does, MKL doesn't even find it.
     */
    private static void shareIntelThreads() {
        if (!"mkl".equals(System.getProperty("org.bytedeco.openblas.load"))) {
            return;
        }
        File library = unpacked("/org/bytedeco/mkl/" + Loader.getPlatform() + "/libiomp5.so");
        if (library != null) {
            Loader.load(Loader.class);
            Loader.loadGlobal(library.getPath());
        }
    }

    private static void setUnlessGiven(String key, String value) {
        if (System.getProperty(key) == null) {
            System.setProperty(key, value);
        }
    }
}
