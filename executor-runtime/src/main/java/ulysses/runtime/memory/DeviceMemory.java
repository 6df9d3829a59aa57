package ulysses.runtime.memory;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;

/** How much memory this rank holds, in bytes: resident memory of the process on CPU, the allocator's count on CUDA. */
public sealed interface DeviceMemory permits DeviceMemory.Host, CudaMemory {

    /** Bytes held now. */
    long current();

    /** Most bytes held so far, or since the last {@link #resetPeak()} where the device can do that. */
    long peak();

    /** Bytes that the device still has: what this and other processes leave, within the limit of a container. */
    long available();

    /** Starts a new peak; on the host the peak is the process's and stays. */
    void resetPeak();

    /** Resident memory of this process. */
    static DeviceMemory host() {
        return new Host();
    }

    /** Memory that libtorch's allocator holds on CUDA device {@code deviceIndex}. */
    static DeviceMemory cuda(int deviceIndex) {
        return new CudaMemory(deviceIndex);
    }

    /**
     * The failure as the user should read it: an out-of-memory of libtorch or JavaCPP becomes a message that names what to lower,
     * with {@code failure} as its cause; any other failure comes back unchanged.
     */
    default RuntimeException explain(RuntimeException failure) {
        String message = String.valueOf(failure.getMessage());
        if (!isOutOfMemory(message)) {
            return failure;
        }
        return new OutOfDeviceMemoryException(
                "%s; %,d MiB in use, peak %,d MiB. %s"
                        .formatted(
                                message.lines().findFirst().orElse(message),
                                current() >> 20,
                                peak() >> 20,
                                "Lower cutoff_len or per_device_train_batch_size, raise sequence_parallel_size,"
                                        + " or keep less for backward (activation_memory: none)"),
                failure);
    }

    private static boolean isOutOfMemory(String message) {
        return message.contains("out of memory")
                || message.contains("not enough memory")
                || message.contains("can't allocate memory")
                || message.contains("Cannot allocate memory");
    }

    /** A tensor did not fit. */
    final class OutOfDeviceMemoryException extends RuntimeException {
        private static final long serialVersionUID = 1L;

        OutOfDeviceMemoryException(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /** What Linux says of this process. */
    record Host() implements DeviceMemory {
        private static final Path STATUS = Path.of("/proc/self/status");
        private static final Path MACHINE = Path.of("/proc/meminfo");

        /** Limit and use of a container's memory: control groups of version 2, then of version 1. */
        private static final List<List<Path>> CONTAINERS = List.of(
                List.of(Path.of("/sys/fs/cgroup/memory.max"), Path.of("/sys/fs/cgroup/memory.current")),
                List.of(
                        Path.of("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
                        Path.of("/sys/fs/cgroup/memory/memory.usage_in_bytes")));

        @Override
        public long current() {
            return kibibytes(STATUS, "VmRSS:") << 10;
        }

        @Override
        public long peak() {
            // The kernel updates the peak late: it may be below what is resident now.
            return Math.max(kibibytes(STATUS, "VmHWM:") << 10, current());
        }

        @Override
        public long available() {
            long available = kibibytes(MACHINE, "MemAvailable:") << 10;
            for (List<Path> container : CONTAINERS) {
                OptionalLong limit = number(container.get(0));
                OptionalLong used = number(container.get(1));
                if (limit.isPresent() && used.isPresent()) {
                    available = Math.min(available, limit.getAsLong() - used.getAsLong());
                }
            }
            return Math.max(0, available);
        }

        /** The number that a file holds; empty where there is no such file, or it says that there is no limit. */
        private static OptionalLong number(Path file) {
            try {
                String text = Files.exists(file) ? Files.readString(file).strip() : "";
                return text.matches("\\d{1,18}") ? OptionalLong.of(Long.parseLong(text)) : OptionalLong.empty();
            } catch (IOException e) {
                throw new UncheckedIOException("cannot read " + file, e);
            }
        }

        @Override
        public void resetPeak() {}

        private static long kibibytes(Path file, String field) {
            try {
                return Files.readAllLines(file).stream()
                        .filter(line -> line.startsWith(field))
                        .mapToLong(line -> Long.parseLong(line.replaceAll("\\D+", "")))
                        .findFirst()
                        .orElse(0);
            } catch (IOException e) {
                throw new UncheckedIOException("cannot read " + file, e);
            }
        }
    }
}
