package ulysses.runtime.memory;

import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.javacpp.SizeTPointer;
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

    /** What the device has free, and what the allocator holds of it without use. */
    @Override
    public long available() {
        try (SizeTPointer free = new SizeTPointer(1);
                SizeTPointer total = new SizeTPointer(1);
                PointerScope scope = new PointerScope()) {
            int status = cudart.cudaMemGetInfo(free, total);
            if (status != cudart.cudaSuccess) {
                throw new IllegalStateException(
                        "CUDA error: cudaMemGetInfo of device %d gives status %d".formatted(deviceIndex, status));
            }
            long reserved = allocator()
                    .getDeviceStats((byte) deviceIndex)
                    .reserved_bytes()
                    .current();
            return free.get() + reserved - current();
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
