package ulysses.runtime.memory;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.cuda.CUDAStream;
import org.bytedeco.pytorch.cuda.CUDAStreamGuard;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch_cuda;

/** Lives until closed: pinned host memory behind a stream of its own, so that copies run beside the kernels. */
final class PinnedOffload implements Offload {

    private final int deviceIndex;
    private final CUDAStream copies;

    PinnedOffload(int deviceIndex) {
        this.deviceIndex = deviceIndex;
        try (TensorScope scope = TensorScope.open()) {
            this.copies = TensorScope.own(torch_cuda.getStreamFromPool(false, (byte) deviceIndex));
        }
    }

    @Override
    public Away send(List<Tensor> tensors) {
        return new InHost(tensors);
    }

    @Override
    public void close() {
        copies.synchronize();
        copies.close();
    }

    private CUDAStream kernels() {
        return torch_cuda.getCurrentCUDAStream((byte) deviceIndex);
    }

    /** What is queued on {@code later} from now on runs after what is queued on {@code earlier} by now. */
    private static void order(CUDAStream earlier, CUDAStream later) {
        try (CUevent_st event = new CUevent_st()) {
            check(cudart.cudaEventCreateWithFlags(event, cudart.cudaEventDisableTiming));
            check(cudart.cudaEventRecord(event, earlier.stream()));
            check(cudart.cudaStreamWaitEvent(later.stream(), event, 0));
            check(cudart.cudaEventDestroy(event)); // freed by CUDA once it has been reached
        }
    }

    private static void check(int status) {
        if (status != cudart.cudaSuccess) {
            throw new IllegalStateException("CUDA error: status " + status + " while activations are offloaded");
        }
    }

    private final class InHost implements Away {
        private final List<Tensor> host = new ArrayList<>();
        private Optional<List<Tensor>> fetched = Optional.empty();

        InHost(List<Tensor> tensors) {
            try (TensorScope scope = TensorScope.open()) {
                order(kernels(), copies);
                try (CUDAStreamGuard guard = new CUDAStreamGuard(copies.asStream())) {
                    for (Tensor tensor : tensors) {
                        host.add(TensorScope.own(copyToHost(tensor)));
                    }
                }
            }
        }

        private Tensor copyToHost(Tensor tensor) {
            TensorOptions pinned = tensor.options()
                    .device(new DeviceOptional(new Device("cpu")))
                    .pinned_memory(new BoolOptional(true));
            Tensor copy = torch.empty(tensor.sizes(), pinned, null);
            copy.copy_(tensor, true);
            tensor.record_stream(copies.unwrap()); // its memory is given out again only behind the copy
            return copy;
        }

        @Override
        public void sent() {
            // the allocator keeps what was sent until the copy has been made
        }

        @Override
        public void fetch() {
            if (fetched.isPresent()) {
                return;
            }
            try (TensorScope scope = TensorScope.open();
                    CUDAStreamGuard guard = new CUDAStreamGuard(copies.asStream())) {
                Device device = new Device("cuda:" + deviceIndex);
                fetched = Optional.of(host.stream()
                        .map(copy -> TensorScope.own(
                                copy.to(device, copy.scalar_type().intern(), true, false, null)))
                        .toList());
            }
        }

        @Override
        public List<Tensor> back() {
            fetch();
            List<Tensor> tensors = fetched.orElseThrow();
            fetched = Optional.empty();
            try (TensorScope scope = TensorScope.open()) {
                CUDAStream now = kernels();
                order(copies, now);
                tensors.forEach(tensor -> tensor.record_stream(now.unwrap()));
            }
            return tensors;
        }

        @Override
        public void close() {
            fetched.ifPresent(tensors -> tensors.forEach(Tensor::close));
            host.forEach(Tensor::close);
        }
    }
}
