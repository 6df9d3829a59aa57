package ulysses.driver.launch;

import org.apache.spark.SparkConf;

/**
 * How many of an executor's cores a rank takes. Tasks that prepare data take {@code spark.task.cpus}, one by default, so an executor
 * prepares with all its cores and then gives them to its ranks.
 */
public final class RankCores {
    /** The setting; without it a rank takes as many as any other task. */
    public static final String KEY = "spark.ulysses.rank.cores";

    private static final String OF_ANY_TASK = "spark.task.cpus";

    private RankCores() {}

    /** Name of the setting that decides. */
    public static String key(SparkConf conf) {
        return conf.contains(KEY) ? KEY : OF_ANY_TASK;
    }

    /** Whether anybody decided. */
    static boolean chosen(SparkConf conf) {
        return conf.contains(key(conf));
    }

    /** Cores of a rank. */
    public static int of(SparkConf conf) {
        return conf.getInt(key(conf), 1);
    }

    /** Whether ranks take other cores than tasks that prepare data, so that their stage needs a resource profile. */
    public static boolean differ(SparkConf conf) {
        return of(conf) != conf.getInt(OF_ANY_TASK, 1);
    }
}
