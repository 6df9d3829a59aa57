package ulysses.runtime.training;

import java.nio.file.Path;
import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.memory.DeviceMemory;
import ulysses.runtime.memory.Offload;
import ulysses.runtime.memory.StateHome;
import ulysses.runtime.mesh.RankAssignment;

/**
 * Where a rank's tensors are: on its device, and away from it what is offloaded: in host memory on CUDA, in mapped files on the CPU.
 *
 * @param scratch folder of this rank for such files
 */
record RankDevice(RankAssignment assignment, Path scratch) {

    /** The device itself. */
    Device device() {
        if (isHost()) {
            return new Device("cpu");
        }
        if (!torch.cuda_is_available()) {
            throw new ConfigException(
                    "device",
                    List.of(
                            "cuda, but libtorch finds no CUDA device here; use the build with -Pgpu and check LD_LIBRARY_PATH and the driver, or set device: cpu"));
        }
        return new Device("cuda:" + assignment.deviceIndex());
    }

    /** What it has and what is free of it. */
    DeviceMemory memory() {
        return isHost() ? DeviceMemory.host() : DeviceMemory.cuda(assignment.deviceIndex());
    }

    /** Where moments and separate master weights are. */
    StateHome states() {
        if (!parallel().offloadsOptimizer()) {
            return StateHome.on(device());
        }
        return isHost() ? StateHome.mappedIn(scratch) : StateHome.on(new Device("cpu"));
    }

    /** Where activations are between forward and backward; null: they stay. */
    @Nullable
    Offload activations() {
        if (!parallel().offloadsActivations()) {
            return null;
        }
        return isHost() ? Offload.toFiles(scratch) : Offload.toHost(assignment.deviceIndex());
    }

    /**
     * Who shares its memory: on the CPU all ranks of the host, and what a save copies.
     *
     * @param copied bytes of host memory that a save takes
     */
    ActivationRoom.Place place(long copied) {
        return isHost()
                ? new ActivationRoom.Place(assignment.host(), copied)
                : new ActivationRoom.Place("device of rank " + assignment.rank(), 0);
    }

    private boolean isHost() {
        return parallel().device() == ParallelConfig.Device.CPU;
    }

    private ParallelConfig parallel() {
        return assignment.config().parallel();
    }
}
