package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.apache.spark.SparkConf;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import ulysses.runtime.mesh.RankEvent;

@Timeout(20)
class RunProgressTest {
    private RunProgress progress;

    @BeforeEach
    void open() throws Exception {
        progress = RunProgress.open(new SparkConf(false).set("spark.driver.host", "127.0.0.1"), List.of());
        progress.begin(1);
    }

    @AfterEach
    void close() {
        progress.close();
    }

    @Test
    void believesARankWhoseTaskWasEndedBeforeItCouldTellWhy() throws Exception {
        send(1, new RankReport.Ended(failure(1, FailureKind.INFRASTRUCTURE, RankFailure.Cause.CUT_OFF, "peer closed")));
        send(0, new RankReport.Happened(new RankEvent.Failed(0, 3, "storage", "checkpoint is damaged")));

        progress.awaitLastReports(Duration.ofSeconds(10));

        Optional<RankFailure> first = RankFailure.first(progress.failures());
        assertThat(first).hasValueSatisfying(failure -> {
            assertThat(failure.kind()).isEqualTo(FailureKind.STORAGE);
            assertThat(failure.retryable()).isFalse();
            assertThat(failure.describe())
                    .isEqualTo("rank 0 on host 127.0.0.1 failed in phase start at step 3: checkpoint is damaged");
        });
    }

    @Test
    void countsARankOnceWhenItsTaskTellsTheSame() throws Exception {
        try (DriverLink link = link(0)) {
            link.send(new RankReport.Happened(new RankEvent.Failed(0, 3, "data", "row 7")));
            link.send(new RankReport.Ended(failure(0, FailureKind.DATA, RankFailure.Cause.REPORTED, "row 7")));
        }

        progress.awaitLastReports(Duration.ofSeconds(10));

        assertThat(progress.failures())
                .containsExactly(failure(0, FailureKind.DATA, RankFailure.Cause.REPORTED, "row 7"));
    }

    @Test
    void aBrokenCollectiveIsNoConfession() throws Exception {
        send(0, new RankReport.Happened(new RankEvent.Failed(0, 3, "infrastructure", "peer closed")));

        progress.awaitLastReports(Duration.ofSeconds(10));

        assertThat(progress.failures()).isEmpty();
    }

    private void send(int partition, RankReport report) throws Exception {
        try (DriverLink link = link(partition)) {
            link.send(report);
        }
    }

    /** A connection that the driver has noticed. */
    private DriverLink link(int partition) throws InterruptedException {
        DriverLink link = DriverLink.open(
                progress.address(), new RankReport.Hello(progress.address().token(), 1, partition, "127.0.0.1", "0"));
        LocalCluster.await(
                "hello",
                Duration.ofSeconds(5),
                () -> progress.ranks().stream().anyMatch(status -> status.partition() == partition));
        return link;
    }

    private static RankFailure failure(int rank, FailureKind kind, RankFailure.Cause cause, String reason) {
        return new RankFailure(rank, "127.0.0.1", "load", 3, kind, cause, reason, List.of("its log"));
    }
}
