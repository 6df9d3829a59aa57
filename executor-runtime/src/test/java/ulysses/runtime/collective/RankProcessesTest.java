package ulysses.runtime.collective;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import ulysses.runtime.mesh.RankEvent;

@Timeout(120)
class RankProcessesTest {
    private static final Duration TIMEOUT = Duration.ofSeconds(60);

    @Test
    void ranksInProcessesReduceAndEnd() {
        try (RankProcesses ranks = RankProcesses.start(
                AllReduceRank.class, 3, TIMEOUT, (rank, port) -> AllReduceRank.line(rank, 3, port, 2))) {
            List<RankProcesses.Outcome> outcomes = ranks.await(TIMEOUT);

            for (RankProcesses.Outcome outcome : outcomes) {
                int rank = outcome.rank();
                assertThat(outcome.exitCode()).as(outcome.log()).isZero();
                assertThat(outcome.events())
                        .endsWith(
                                new RankEvent.Evaluated(rank, 1, "sum", 3),
                                new RankEvent.Evaluated(rank, 2, "sum", 3),
                                new RankEvent.Done(rank, 2));
                assertThat(outcome.otherOutput()).isEmpty();
                assertThat(outcome.log()).doesNotContain("do not match");
            }
        }
    }

    @Test
    void aKilledRankFailsTheOthersLongBeforeTheTimeout() {
        try (RankProcesses ranks = RankProcesses.start(
                AllReduceRank.class, 2, TIMEOUT, (rank, port) -> AllReduceRank.line(rank, 2, port, -2))) {
            ranks.awaitEvent(0, RankEvent.Evaluated.class::isInstance, TIMEOUT);

            long start = System.nanoTime();
            ranks.kill(1);
            List<RankProcesses.Outcome> outcomes = ranks.await(TIMEOUT);

            assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(10));
            assertThat(outcomes.get(1).exitCode()).isEqualTo(137);
            assertThat(outcomes.get(0).exitCode()).isEqualTo(3);
            assertThat(outcomes.get(0).log()).contains("rank 0 lost its peers");
            assertThat(outcomes.get(0).events())
                    .last()
                    .satisfies(event -> assertThat(((RankEvent.Failed) event).message())
                            .contains("all-reduce number")
                            .contains("A rank of the group has ended"));
        }
    }
}
