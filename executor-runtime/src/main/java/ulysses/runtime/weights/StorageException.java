package ulysses.runtime.weights;

import java.util.List;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.config.MessageText;

/** A file system could not do what was asked, or holds something damaged; the message says what, where and what to do. */
public class StorageException extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private static final int SHOWN = 100; // chars of a name

    /** How Linux, HDFS and Java say that there is no room: disk, quota, limit of a process. */
    private static final List<String> NO_ROOM = List.of(
            "No space left on device",
            "Disk quota exceeded",
            "File too large",
            "DiskSpace quota",
            "QuotaExceededException",
            "minReplication");

    public StorageException(String message) {
        super(MessageText.shortened(message));
    }

    public StorageException(String message, @Nullable Throwable cause) {
        super(MessageText.shortened(message), cause);
    }

    /** For a name that no file in {@code folder} can have. */
    static StorageException impossibleName(String name, String folder, Exception cause) {
        String shown = name.length() <= SHOWN ? name : name.substring(0, SHOWN) + "...";
        return new StorageException(
                "no file in %s can be called '%s' (%s); correct or restore the file that names it"
                        .formatted(
                                folder,
                                shown.replaceAll("\\p{Cntrl}", "?"),
                                cause.getClass().getSimpleName()),
                cause);
    }

    /** Whether {@code failure}, or what led to it, says that a disk or a quota is full. */
    public static boolean saysThatDiskIsFull(Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            String text = cause.toString();
            if (NO_ROOM.stream().anyMatch(text::contains)) {
                return true;
            }
        }
        return false;
    }

    /** That {@code file} can't be read or written; what to do is to make room where the disk is full, else {@code otherwise}. */
    static StorageException failed(String verb, Object file, String reason, String otherwise, Exception cause) {
        return new StorageException(
                "can't %s %s: %s; %s".formatted(verb, file, reason, remedy(cause, otherwise)), cause);
    }

    private static String remedy(Throwable failure, String otherwise) {
        return saysThatDiskIsFull(failure)
                ? "the disk is full: free space there, keep fewer checkpoints (save_total_limit) or name another output_dir, then run the same command again; what was complete before is untouched"
                : otherwise;
    }
}
