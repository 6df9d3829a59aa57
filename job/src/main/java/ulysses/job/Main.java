package ulysses.job;

import java.io.PrintStream;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkUserAppException;
import org.apache.spark.deploy.SparkHadoopUtil;
import ulysses.driver.launch.FailureKind;
import ulysses.driver.launch.LaunchException;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.data.DataException;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.WeightsException;

/**
 * Entry point: picks a command and maps what it throws to one readable message and an exit code: 0 done, 2 configuration, 3 data, 4
 * diverged, 5 infrastructure or lease, 6 storage.
 */
public final class Main {

    private Main() {}

    /**
     * Runs one command. Where Spark called it, a failure leaves as an exception that carries the exit code, and success by returning,
     * since YARN takes any exit from inside for a crash; elsewhere the process exits.
     */
    public static void main(String[] arguments) throws SparkUserAppException {
        int code = run(arguments, System.getenv(), System.out, System.err);
        if (!isCalledBySpark()) {
            System.exit(code);
        } else if (code != 0) {
            throw new SparkUserAppException(code, null);
        }
    }

    /** By spark-submit in its own process, or as the driver of cluster mode, whose process has the settings as properties. */
    private static boolean isCalledBySpark() {
        return Boolean.getBoolean("SPARK_SUBMIT") || "cluster".equals(System.getProperty("spark.submit.deployMode"));
    }

    static int run(String[] arguments, Map<String, String> environment, PrintStream out, PrintStream err) {
        System.setProperty("java.awt.headless", "true"); // pictures are drawn into memory, whatever DISPLAY says
        boolean debug = false;
        try {
            CommandLine commandLine = CommandLine.parse(List.of(arguments), environment);
            debug = commandLine.debug();
            if (debug) {
                System.setProperty(
                        "ulysses.log.level", "debug"); // read by conf/log4j2.properties at the first log line
            }
            SparkConf conf = new SparkConf();
            return switch (commandLine.command()) {
                case HELP -> help(out);
                case CHECK_CONFIG -> CheckCommand.run(commandLine, settings(conf), hadoop(conf), out);
                case PREPARE -> PrepareCommand.run(commandLine, conf, hadoop(conf), environment, out);
                case TRAIN -> TrainCommand.run(commandLine, conf, hadoop(conf), environment, out);
                case EXPORT -> ExportCommand.run(commandLine, settings(conf), hadoop(conf), environment, out);
                case INSPECT -> InspectCommand.run(commandLine, settings(conf), hadoop(conf), environment, out);
                case STATUS -> StatusCommand.run(commandLine, settings(conf), hadoop(conf), out);
                case BENCH -> BenchCommand.run(commandLine, hadoop(conf), out);
                case PLAN -> PlanCommand.run(commandLine, settings(conf), hadoop(conf), environment, out);
            };
        } catch (Exception thrown) { // SparkException is checked but not declared by Spark's Scala methods
            Exception failure = KerberosLogin.explained(thrown);
            if (debug) {
                failure.printStackTrace(err); // asked for by --debug; the line below is what others read
            }
            err.println("error: " + message(failure));
            return kind(failure).exitCode();
        }
    }

    private static int help(PrintStream out) {
        out.print(CommandLine.HELP);
        return 0;
    }

    /** All of {@code conf} by name. */
    static Map<String, String> settings(SparkConf conf) {
        Map<String, String> settings = new HashMap<>();
        for (var entry : conf.getAll()) {
            settings.put(entry._1(), entry._2());
        }
        return settings;
    }

    /** Its file systems know the driver from now on. */
    private static Configuration hadoop(SparkConf conf) {
        Configuration hadoop = SparkHadoopUtil.get().newConfiguration(conf);
        KerberosLogin.open(conf);
        return hadoop;
    }

    private static FailureKind kind(Throwable failure) {
        if (failure instanceof LaunchException launch) {
            return launch.kind();
        } else if (failure instanceof ConfigException || failure instanceof WeightsException) {
            return FailureKind.CONFIG;
        } else if (failure instanceof DataException) {
            return FailureKind.DATA;
        } else if (failure instanceof StorageException) {
            return FailureKind.STORAGE;
        }
        return FailureKind.INFRASTRUCTURE;
    }

    private static String message(Throwable failure) {
        boolean ours = failure.getClass().getName().startsWith("ulysses.");
        return ours && failure.getMessage() != null
                ? failure.getMessage()
                : failure + "; run again with --debug for the whole trace (it also turns gradient strategies on: add"
                        + " --gradient_strategies none to train as before)";
    }
}
