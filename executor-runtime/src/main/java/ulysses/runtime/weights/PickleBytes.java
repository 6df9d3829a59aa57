package ulysses.runtime.weights;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** The bytes of a pickle in a file, one after the other, little-endian; for one thread. */
final class PickleBytes {
    private static final int BLOCK = 1 << 16; // chosen, not tuned

    private final RangedFile file;
    private final long end;
    private final ByteBuffer block = ByteBuffer.allocate(BLOCK).order(ByteOrder.LITTLE_ENDIAN);
    private long blockStart;

    /** The bytes of {@code file} between {@code start} and {@code end}. */
    PickleBytes(RangedFile file, long start, long end) {
        this.file = file;
        this.end = end;
        this.blockStart = start;
        block.limit(0);
    }

    /** Path of the file, for messages. */
    String path() {
        return file.path();
    }

    /** Position in the file of the next byte. */
    long position() {
        return blockStart + block.position();
    }

    private ByteBuffer next(int count) {
        if (block.remaining() < count) {
            long from = position();
            if (end - from < count) {
                throw damaged("it ends within a value");
            }
            blockStart = from;
            block.clear().limit((int) Math.min(BLOCK, end - from));
            file.read(from, block);
            block.flip();
        }
        return block;
    }

    int unsignedByte() {
        return Byte.toUnsignedInt(next(1).get());
    }

    int int32() {
        return next(Integer.BYTES).getInt();
    }

    long int64() {
        return next(Long.BYTES).getLong();
    }

    byte[] bytes(int count) {
        if (count < 0 || count > end - position()) {
            throw damaged("it ends within a value of %s bytes".formatted(Integer.toUnsignedString(count)));
        }
        byte[] bytes = new byte[count];
        for (int done = 0; done < count; ) {
            int part = Math.min(BLOCK, count - done);
            next(part).get(bytes, done, part);
            done += part;
        }
        return bytes;
    }

    String text(int count) {
        return new String(bytes(count), StandardCharsets.UTF_8);
    }

    /** The text up to the next line break. */
    String line() {
        StringBuilder text = new StringBuilder();
        for (int letter = unsignedByte(); letter != '\n'; letter = unsignedByte()) {
            text.append((char) letter);
        }
        return text.toString();
    }

    /** The file breaks the rules of its format. */
    WeightsException damaged(String reason) {
        return new WeightsException("%s is damaged, cut off or no file of torch.save: %s; copy or download it again"
                .formatted(path(), reason));
    }

    /** The file asks for something that is not done. */
    WeightsException refused(String reason) {
        return new WeightsException(
                "%s is refused: %s; only tensors by name are read, nothing in the file was run; save the weights as safetensors (save_pretrained), on a machine where you trust this file"
                        .formatted(path(), reason));
    }
}
