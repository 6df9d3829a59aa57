package ulysses.runtime.weights;

/**
 * A file that is completely written.
 *
 * @param name relative to the folder it was written in
 * @param length bytes
 * @param crc32c CRC-32C of all bytes
 */
public record WrittenFile(String name, long length, long crc32c) {

    /** The same file seen from the folder that holds {@code folder}. */
    public WrittenFile in(String folder) {
        return new WrittenFile(folder + "/" + name, length, crc32c);
    }
}
