package ulysses.runtime.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.checkpoint.RunLease.Timing;
import ulysses.runtime.weights.Folder;

/** One of several takes the lease; what the three file systems do differently is in {@code FileSystemsTest}. */
@Timeout(60)
final class RunLeaseTest {
    @TempDir
    private Path temporary;

    private Folder folder() {
        return Folder.at(temporary.resolve("out").toString(), new Configuration(false));
    }

    @Test
    void oneOfManyHoldsIt() throws Exception {
        LeaseTrials.oneOfManyHoldsIt(folder());
    }

    @Test
    void aDeadHolderIsReplacedAndHearsOfIt() throws Exception {
        LeaseTrials.aDeadHolderIsReplacedAndHearsOfIt(folder());
    }

    @Test
    void isFreeAtOnceWhenItWasReleased() throws Exception {
        Folder folder = folder();
        for (int run = 1; run <= 3; run++) {
            RunLease lease = RunLease.take(folder, LeaseHolder.here("run-" + run), () -> {});
            lease.close();
            lease.close();
        }

        assertThat(folder.folder("lease").list()).extracting(Folder.Entry::name).containsExactly("holder-3.json");
        assertThat(folder.folder("lease").readText("holder-3.json")).contains("run-3", "\"released\" : true");
    }

    @Test
    void isFreeAtOnceWhenItsProcessOfThisMachineIsGone() throws Exception {
        LeaseHolder here = LeaseHolder.here("killed");
        Process ended = new ProcessBuilder("true").start();
        ended.waitFor();
        LeaseHolder killed = new LeaseHolder(
                "killed", here.user(), here.host(), ended.pid(), here.started(), here.kernel(), here.since(), 7, false);
        folder().write("lease/holder-4.json", killed.toJson());
        long begin = System.nanoTime();

        RunLease.take(folder(), LeaseHolder.here("next"), () -> {}).close();

        assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(Timing.USUAL.beat());
        assertThat(folder().folder("lease").has("holder-5.json")).isTrue();
    }

    @Test
    void doesNotTrustAProcessNumberOfAnotherKernel() {
        LeaseHolder here = LeaseHolder.here("elsewhere");

        LeaseHolder elsewhere = new LeaseHolder(
                here.runId(), here.user(), here.host(), 1L << 40, here.started(), "another", here.since(), 1, false);

        assertThat(elsewhere.isGone()).isFalse();
        assertThat(here.isGone()).isFalse();
    }

    @Test
    void aFileThatNobodyFinishedExpires() throws Exception {
        folder().write("lease/holder-1.json", "{\"runId\" : \"ha".getBytes(StandardCharsets.UTF_8));

        RunLease lease = RunLease.take(folder(), LeaseHolder.here("next"), LeaseTrials.FAST, () -> {});

        lease.requireHeld();
        lease.close();
        assertThat(folder().folder("lease").has("holder-2.json")).isTrue();
    }

    @Test
    void saysWhoHoldsItSinceWhenAndWhatToDo() throws Exception {
        LeaseHolder first = LeaseHolder.here("first");
        try (RunLease held = RunLease.take(folder(), first, LeaseTrials.FAST, () -> {})) {
            assertThatThrownBy(() -> RunLease.take(folder(), LeaseHolder.here("second"), LeaseTrials.FAST, () -> {}))
                    .isInstanceOf(LeaseException.class)
                    .hasMessage(
                            "%s is being trained into by another run (user %s, process %d on host %s, run first), which holds its lease since %s and is alive; wait until that run ends or stop it, or choose another output_dir",
                            folder().path(),
                            first.user(),
                            ProcessHandle.current().pid(),
                            first.host(),
                            first.since());
            held.requireHeld();
        }
    }
}
