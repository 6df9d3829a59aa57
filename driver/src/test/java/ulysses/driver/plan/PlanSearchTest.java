package ulysses.driver.plan;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import ulysses.driver.plan.RunShape.Batch;
import ulysses.driver.plan.RunShape.Mesh;
import ulysses.driver.plan.RunShape.States;
import ulysses.runtime.config.ActivationMemory;

class PlanSearchTest {
    /** Eight rows a step on four ranks. */
    private static final RunShape SHAPE = new RunShape(
            SmallRun.shape(1).tuned(),
            SmallRun.shape(1).compute(),
            ActivationMemory.ATTENTION,
            SmallRun.shape(1).device(),
            1024,
            new Batch(1, 4),
            new Mesh(2, 2),
            RunShape.Comparison.NONE);

    @Test
    void whereMemoryIsNoMatterNothingIsSplitOrMadeAgain() {
        PlanSearch search = PlanSearch.of(SHAPE, SmallRun.device("large", 1L << 40));

        RunShape best = search.best().orElseThrow().shape();
        assertThat(best.mesh().group()).isEqualTo(1);
        assertThat(best.mesh().states())
                .isEqualTo(new States(best.mesh().states().zeroStage(), false));
        assertThat(best.activations()).isEqualTo(ActivationMemory.FULL);
        assertThat(search.fitting()).hasSize(search.tried());
    }

    @Test
    void everyPlanDoesTheSameStepAndTheBestIsTheFastestThatFits() {
        PlanSearch all = PlanSearch.of(SHAPE, SmallRun.device("large", 1L << 40));
        long middle = all.fitting().stream()
                .mapToLong(plan -> plan.memory().peak())
                .sorted()
                .skip(all.tried() / 2)
                .findFirst()
                .orElseThrow();

        PlanSearch search = PlanSearch.of(SHAPE, SmallRun.device("tight", middle / 0.95 + 1));

        assertThat(search.fitting()).isNotEmpty().hasSizeLessThan(search.tried());
        RunPlan best = search.best().orElseThrow();
        assertThat(best.fits()).isTrue();
        assertThat(search.fitting()).allSatisfy(plan -> {
            RunShape shape = plan.shape();
            assertThat(plan.memory().peak()).isLessThanOrEqualTo(middle + 1);
            assertThat(shape.mesh().ranks()).isEqualTo(4);
            assertThat(shape.batch().rows()
                            * shape.batch().accumulation()
                            * shape.mesh().groups())
                    .isEqualTo(8);
            if (shape.mesh().states().offloads() == 0) {
                assertThat(plan.time().total())
                        .isGreaterThanOrEqualTo(best.time().total());
            }
        });
    }

    @Test
    void offloadIsTakenWhereNothingFitsWithout() {
        long least = PlanSearch.of(SHAPE, SmallRun.device("large", 1L << 40)).fitting().stream()
                .filter(plan -> plan.shape().mesh().states().offloads() == 0)
                .mapToLong(plan -> plan.memory().peak())
                .min()
                .orElseThrow();

        PlanSearch search = PlanSearch.of(SHAPE, SmallRun.device("small", (least - 1) / 0.95));

        assertThat(search.fitting())
                .isNotEmpty()
                .allMatch(plan -> plan.shape().mesh().states().offloadsOptimizer());
        assertThat(search.choices()).contains(new PlanSearch.Choice("offload_optimizer", "true", "nothing else fits"));
    }

    @Test
    void groupsDivideRanksAndRows() {
        PlanSearch search = PlanSearch.of(SHAPE.withRowTokens(1022), SmallRun.device("large", 1L << 40));

        assertThat(search.fitting().stream()
                        .map(plan -> plan.shape().mesh().group())
                        .distinct())
                .containsExactlyInAnyOrder(1, 2); // 4 does not divide 1022
    }

    @Test
    void saysWhatOtherValuesWouldGive() {
        List<PlanSearch.Choice> choices =
                PlanSearch.of(SHAPE, SmallRun.device("large", 1L << 40)).choices();

        assertThat(choices)
                .extracting(PlanSearch.Choice::key)
                .containsExactly(
                        "sequence_parallel_size",
                        "zero_stage",
                        "offload_optimizer",
                        "offload_activations",
                        "per_device_train_batch_size",
                        "activation_memory");
        assertThat(choices.get(5).reason())
                .matches(
                        "the best with attention takes 1\\.\\d\\d times as long, and .* % of the memory it may use instead of .* %");
        assertThat(PlanSearch.of(SHAPE, SmallRun.device("none", 1)).choices()).isEmpty();
    }
}
