package ulysses.runtime.memory;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;

/** Where the float32 states of an optimizer are held: beside the weights, or off their device. */
@FunctionalInterface
public interface StateHome {
    /** Bytes of zeros that are written at once: chosen, not tuned. */
    int BLOCK = 1 << 22;

    /** Elements that are brought here, or from here to their device, at a time: 256 MiB of float32; chosen, not tuned. */
    long PIECE_ELEMENTS = 1L << 26;

    /** Zeros, flat; whoever asks for them closes them. */
    Tensor zeros(long elements);

    /** On {@code device}: in host memory, for a device that is a CPU. */
    static StateHome on(Device device) {
        return elements -> {
            try (TensorScope scope = TensorScope.open()) {
                return TensorScope.own(
                        torch.zeros(new long[] {elements}, float32().device(new DeviceOptional(device))));
            }
        };
    }

    /**
     * In files under {@code folder} that are mapped into memory: the system writes them out where memory is short. They have no name
     * once they are mapped, so that nothing is left of them when the process ends, however it does. Their room is taken as they are made,
     * so that all states of all ranks on a machine are there before the first step.
     *
     * @throws UncheckedIOException from {@link #zeros} when the disk has no room for them
     */
    static StateHome mappedIn(Path folder) {
        return elements -> elements == 0 ? on(new Device("cpu")).zeros(0) : mapped(folder, elements);
    }

    private static Tensor mapped(Path folder, long elements) {
        try (TensorScope scope = TensorScope.open()) {
            requireRoom(folder, elements * Float.BYTES);
            Path file = Files.createTempFile(folder, "states", ".bin");
            try {
                takeRoom(file, elements * Float.BYTES);
                return TensorScope.own(torch.from_file(
                        file.toString(), new BoolOptional(true), new LongOptional(elements), float32()));
            } finally {
                Files.delete(file);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("no file for optimizer states in " + folder + ": " + e.getMessage(), e);
        }
    }

    /** Says early what {@link #takeRoom} would find out late; what others take meanwhile is not known here. */
    private static void requireRoom(Path folder, long bytes) throws IOException {
        long room = Files.getFileStore(folder).getUsableSpace();
        if (room < bytes) {
            throw new IOException(
                    "they need %d MiB, but only %d MiB are free there; free space, or set offload_optimizer: false"
                            .formatted(bytes >> 20, room >> 20));
        }
    }

    /**
     * Writes {@code bytes} zeros. A file with holes takes its room when what is mapped is written to, and a disk that is full then ends the
     * process by a signal.
     */
    private static void takeRoom(Path file, long bytes) throws IOException {
        ByteBuffer zeros = ByteBuffer.allocateDirect((int) Math.min(bytes, BLOCK));
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            for (long left = bytes; left > 0; left -= zeros.position()) {
                zeros.clear().limit((int) Math.min(left, zeros.capacity()));
                while (zeros.hasRemaining()) {
                    channel.write(zeros);
                }
            }
        } catch (IOException e) {
            throw new IOException(
                    "%s when %d MiB were taken for them; free space there, or set offload_optimizer: false"
                            .formatted(e.getMessage(), bytes >> 20),
                    e);
        }
    }

    private static TensorOptions float32() {
        return new TensorOptions().dtype(new ScalarTypeOptional(torch.ScalarType.Float));
    }
}
