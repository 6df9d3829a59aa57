package ulysses.runtime.memory;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Stat;
import org.bytedeco.pytorch.cuda.CUDAAllocator;
import org.bytedeco.pytorch.global.torch_cuda;

/** What libtorch's caching allocator counts on one CUDA device; loads the CUDA classes on first use. */
record CudaMemory(int deviceIndex) implements DeviceMemory {

    @Override
    public long current() {
        try (PointerScope scope = new PointerScope()) {
            return allocatedBytes().current();
        }
    }

    @Override
    public long peak() {
        try (PointerScope scope = new PointerScope()) {
            return allocatedBytes().peak();
        }
    }

    @Override
    public void resetPeak() {
        allocator().resetPeakStats((byte) deviceIndex);
    }

    /** The first entry of the array that libtorch keeps is the sum over small and large blocks. */
    private Stat allocatedBytes() {
        return allocator().getDeviceStats((byte) deviceIndex).allocated_bytes();
    }

    private static CUDAAllocator allocator() {
        return torch_cuda.getAllocator();
    }
}
