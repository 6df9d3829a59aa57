package ulysses.driver.packing;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import ulysses.runtime.config.TrainingConfig.Packing;

class ShardPlanTest {

    @Test
    void bucketsHoldAtLeastTenThousandExamples() {
        assertThat(ShardPlan.of(Packing.BEST_FIT, 0, 0, 1000, 42).shards()).isEqualTo(1);
        assertThat(ShardPlan.of(Packing.BEST_FIT, 19_999, 1, 1000, 42).shards()).isEqualTo(1);
        assertThat(ShardPlan.of(Packing.BEST_FIT, 1_000_000, 1, 1000, 42).shards())
                .isEqualTo(100);
    }

    @Test
    void bucketsAreAboutEquallyLarge() {
        ShardPlan plan = ShardPlan.of(Packing.BEST_FIT, 100_000, 1, 1000, 42);
        Map<Integer, Integer> sizes = new TreeMap<>();
        for (long row = 0; row < 100_000; row++) {
            sizes.merge(plan.place(row, row).shard(), 1, Integer::sum);
        }

        assertThat(sizes).hasSize(10);
        assertThat(sizes.values()).allMatch(size -> size > 9_500 && size < 10_500);
    }

    @Test
    void runsKeepOrderAndWholeBatches() {
        ShardPlan plan = ShardPlan.of(Packing.LLAMAFACTORY_NEAT, 120_000, 1, 700, 42);

        assertThat(plan.shards()).isEqualTo(3);
        assertThat(plan.placesPerShard() % 700).isZero();
        assertThat(plan.place(5, 49_699).shard()).isZero();
        assertThat(plan.place(5, 49_700).shard()).isEqualTo(1);
        assertThat(plan.place(5, 119_999).shard()).isEqualTo(2);
    }

    @Test
    void longExamplesMakeSmallerShards() {
        long terabyte = 1L << 40;

        assertThat(ShardPlan.of(Packing.BEST_FIT, 20_000, terabyte, 1000, 42).shards())
                .isEqualTo(513);
        ShardPlan plan = ShardPlan.of(Packing.NONE, 20_000, terabyte, 1000, 42);
        assertThat(plan.placesPerShard()).isEqualTo(1000);
        assertThat(plan.shards()).isEqualTo(20);
        assertThat(ShardPlan.of(Packing.NONE, 3, 10, 1000, 42).shards()).isEqualTo(1);
    }
}
