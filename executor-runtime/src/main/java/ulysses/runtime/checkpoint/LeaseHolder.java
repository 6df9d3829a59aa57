package ulysses.runtime.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Optional;

/**
 * Who trains into a folder, as it stands in the folder.
 *
 * @param runId names the run
 * @param user whose process it is
 * @param host its machine
 * @param process its number there
 * @param started when the process began, which tells it from a later one with the same number
 * @param kernel names the running kernel and its space of process numbers; empty where that is unknown
 * @param since when it took the lease, by its own clock
 * @param beats signs of life so far
 * @param released whether it has given the lease back
 */
public record LeaseHolder(
        String runId,
        String user,
        String host,
        long process,
        String started,
        String kernel,
        String since,
        long beats,
        boolean released) {
    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
            .enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
            .build();

    /** This process, for the run {@code runId}. */
    public static LeaseHolder here(String runId) {
        ProcessHandle self = ProcessHandle.current();
        return new LeaseHolder(
                runId,
                System.getProperty("user.name", "unknown"),
                hostName(),
                self.pid(),
                started(self),
                kernelHere(),
                Instant.now().truncatedTo(ChronoUnit.SECONDS).toString(),
                0,
                false);
    }

    private static String hostName() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException e) {
            return "unknown";
        }
    }

    private static String started(ProcessHandle process) {
        return process.info().startInstant().map(Instant::toString).orElse("");
    }

    /** Containers count processes anew, so a host's name does not say which process a number means. */
    private static String kernelHere() {
        try {
            return Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip()
                    + " "
                    + Files.readSymbolicLink(Path.of("/proc/self/ns/pid"));
        } catch (IOException | UnsupportedOperationException e) { // not Linux: then a dead holder is waited for
            return "";
        }
    }

    /** After one more sign of life. */
    LeaseHolder beating() {
        return new LeaseHolder(runId, user, host, process, started, kernel, since, beats + 1, released);
    }

    /** After giving the lease back. */
    LeaseHolder releasing() {
        return new LeaseHolder(runId, user, host, process, started, kernel, since, beats + 1, true);
    }

    /** Whether it is certain, without waiting, that its process has ended: it ran under this kernel and is not there any more. */
    boolean isGone() {
        if (kernel.isEmpty() || !kernel.equals(kernelHere())) {
            return false;
        }
        return ProcessHandle.of(process)
                .filter(found -> found.isAlive() && started(found).equals(started))
                .isEmpty();
    }

    /** For messages. */
    String describe() {
        return "user %s, process %d on host %s, run %s".formatted(user, process, host, runId);
    }

    byte[] toJson() {
        try {
            return JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(this);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a lease can't be written as JSON", e);
        }
    }

    /** Empty while the file is being written. */
    static Optional<LeaseHolder> parse(String json) {
        try {
            return Optional.ofNullable(JSON.readValue(json, LeaseHolder.class));
        } catch (JsonProcessingException e) {
            return Optional.empty();
        }
    }
}
