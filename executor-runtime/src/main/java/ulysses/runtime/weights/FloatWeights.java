package ulysses.runtime.weights;

import java.nio.ByteBuffer;

/** Weights by name, wherever they come from, widened to float32. */
@FunctionalInterface
public interface FloatWeights {

    /**
     * Fills {@code into} up to its limit with elements of the weight {@code name}, from {@code firstElement} on, as little-endian
     * float32.
     */
    void readFloat32(String name, long firstElement, ByteBuffer into);
}
