package ulysses.driver.launch;

import java.util.Optional;
import org.apache.hadoop.security.Credentials;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.spark.SparkContext;
import org.apache.spark.deploy.SparkHadoopUtil;
import org.apache.spark.deploy.security.HadoopDelegationTokenManager;
import org.apache.spark.rpc.RpcEndpointRef;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerExecutorAdded;
import org.apache.spark.scheduler.cluster.CoarseGrainedClusterMessages.UpdateDelegationTokens;
import org.apache.spark.scheduler.cluster.StandaloneSchedulerBackend;
import org.jspecify.annotations.Nullable;

/**
 * Gives executors of a standalone cluster, an embedded one among them, the tokens of secured file systems that Spark gives to those of
 * YARN and Kubernetes alone: obtained by the same class of Spark, sent by the same message, and replaced when that class does.
 */
public final class StandaloneTokens implements AutoCloseable {
    private final Optional<HadoopDelegationTokenManager> source;

    private StandaloneTokens(Optional<HadoopDelegationTokenManager> source) {
        this.source = source;
    }

    /** Sends the first ones, if {@code spark} runs on such a cluster and Hadoop is secured; to be called before the first stage. */
    public static StandaloneTokens open(SparkContext spark) {
        if (!UserGroupInformation.isSecurityEnabled()
                || !(spark.schedulerBackend() instanceof StandaloneSchedulerBackend backend)) {
            return new StandaloneTokens(Optional.empty());
        }
        RpcEndpointRef scheduler = backend.driverEndpoint();
        HadoopDelegationTokenManager source =
                new HadoopDelegationTokenManager(spark.conf(), spark.hadoopConfiguration(), scheduler);
        spark.addSparkListener(new SparkListener() {
            @Override
            public void onExecutorAdded(SparkListenerExecutorAdded added) {
                // It may have asked for tokens before they were there, and registered behind those who were sent them.
                send(backend.currentDelegationTokens(), scheduler);
            }
        });
        if (source.renewalEnabled()) {
            source.start(); // sends them, too
        } else {
            Credentials obtained = new Credentials();
            source.obtainDelegationTokens(obtained);
            send(SparkHadoopUtil.get().serialize(obtained), scheduler);
        }
        return new StandaloneTokens(Optional.of(source));
    }

    private static void send(byte @Nullable [] tokens, RpcEndpointRef scheduler) {
        if (tokens != null) {
            scheduler.send(new UpdateDelegationTokens(tokens));
        }
    }

    /** From now on none are replaced. */
    @Override
    public void close() {
        source.ifPresent(HadoopDelegationTokenManager::stop);
    }
}
