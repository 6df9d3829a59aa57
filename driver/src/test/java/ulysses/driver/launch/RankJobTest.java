package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankMesh;

/** What is left of a run when there is room for fewer ranks: whole groups, and the same rows a step. */
final class RankJobTest {

    @ParameterizedTest(name = "{0} slots")
    @CsvSource({"9, 6, 2", "6, 6, 2", "5, 4, 3", "4, 4, 3", "3, 2, 6", "2, 2, 6"})
    void keepsGroupsWholeAndRowsOfAStep(int slots, int ranks, int accumulation) {
        RankJob job = job(6, 2, 2);

        RankJob fitting = job.on(slots).orElseThrow();

        assertThat(fitting.mesh()).isEqualTo(new RankMesh(ranks, 2));
        assertThat(fitting.config().step().accumulation()).isEqualTo(accumulation);
        assertThat(fitting.config())
                .isEqualTo(job.config().withStep(job.config().step().withAccumulation(accumulation)));
    }

    @Test
    void takesOnlyAsManyGroupsAsShareTheMicroBatchesEvenly() {
        assertThat(job(4, 1, 1).on(3).orElseThrow().mesh().worldSize()).isEqualTo(2);
    }

    @Test
    void lessThanAGroupIsNothing() {
        assertThat(job(6, 2, 2).on(1)).isEmpty();
    }

    private static RankJob job(int ranks, int group, int accumulation) {
        TrainingConfig config = Runs.config(Path.of("out"), Runs.twoRanks(1, 60));
        return new RankJob(
                "run",
                "Main",
                new RankMesh(ranks, group),
                config.withStep(config.step().withAccumulation(accumulation)),
                "rows",
                List.of());
    }
}
