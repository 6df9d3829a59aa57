package ulysses.runtime.checkpoint;

import org.jspecify.annotations.Nullable;
import ulysses.runtime.weights.StorageException;

/** A checkpoint was read and is not what was written: no later look will find it whole. Other failures may pass. */
public final class DamagedCheckpointException extends StorageException {
    private static final long serialVersionUID = 1L;

    DamagedCheckpointException(String message, @Nullable Throwable cause) {
        super(message, cause);
    }
}
