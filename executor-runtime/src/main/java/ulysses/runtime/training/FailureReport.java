package ulysses.runtime.training;

import java.io.IOException;
import java.io.UncheckedIOException;
import ulysses.runtime.collective.CollectiveException;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.data.DataException;
import ulysses.runtime.memory.DeviceMemory.OutOfDeviceMemoryException;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.WeightsException;

/**
 * What a rank says of the failure that ends it.
 *
 * @param kind {@code config}, {@code data}, {@code diverged}, {@code storage}; {@code infrastructure} where a new attempt may do better;
 *     {@code internal} for a fault of the program, which it is likely to repeat
 * @param message for the user: all that is ours, else one line
 */
record FailureReport(String kind, String message) {

    /** Of {@code failure}, with what to do where the program itself is at fault. */
    static FailureReport of(Throwable failure) {
        String kind = kind(failure);
        String said = said(failure);
        return new FailureReport(
                kind,
                kind.equals(RankEvent.Failed.INTERNAL)
                        ? said
                                + "; a fault of the program, which a new attempt is likely to repeat: report it with this rank's log, which holds the whole trace"
                        : said);
    }

    private static String kind(Throwable failure) {
        if (failure instanceof ConfigException
                || failure instanceof WeightsException
                || failure instanceof OutOfDeviceMemoryException) {
            return "config";
        } else if (failure instanceof DataException) {
            return "data";
        } else if (failure instanceof DivergedException) {
            return "diverged";
        } else if (failure instanceof StorageException
                || failure instanceof IOException
                || failure instanceof UncheckedIOException) {
            return "storage";
        }
        return failure instanceof CollectiveException || isOfTheDevice(failure)
                ? "infrastructure"
                : RankEvent.Failed.INTERNAL;
    }

    /** As libtorch says it of a GPU that fails; an assertion on the device is the program's. */
    private static boolean isOfTheDevice(Throwable failure) {
        String text = failure.toString();
        return text.contains("CUDA error") && !text.contains("device-side assert");
    }

    /** What libtorch throws goes on with the frames of its C++ stack, a line each. */
    private static String said(Throwable failure) {
        String message = failure.getMessage();
        boolean ours = failure.getClass().getName().startsWith("ulysses.");
        return ours && message != null
                ? message
                : failure.toString().lines().findFirst().orElse("");
    }
}
