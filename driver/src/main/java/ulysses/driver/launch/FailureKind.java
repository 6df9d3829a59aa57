package ulysses.driver.launch;

import java.util.Arrays;
import java.util.Locale;

/** Why a run ended early, as far as the caller of the job can react to it. */
public enum FailureKind {
    /** The user asked for something that can't be done. */
    CONFIG(2),
    /** The data can't be used. */
    DATA(3),
    /** The loss is no longer a number. */
    DIVERGED(4),
    /** A machine, a process or the network failed; also the kind of anything unknown. */
    INFRASTRUCTURE(5),
    /** A checkpoint or an output could not be written or read. */
    STORAGE(6);

    private final int exitCode;

    FailureKind(int exitCode) {
        this.exitCode = exitCode;
    }

    /** What the job's process exits with. */
    public int exitCode() {
        return exitCode;
    }

    /** The kind that {@code ulysses.runtime.mesh.RankEvent.Failed} spells {@code name}. */
    static FailureKind named(String name) {
        return Arrays.stream(values())
                .filter(kind -> kind.name().equals(name.toUpperCase(Locale.ROOT)))
                .findFirst()
                .orElse(INFRASTRUCTURE);
    }
}
