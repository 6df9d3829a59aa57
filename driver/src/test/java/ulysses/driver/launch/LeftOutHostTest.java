package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.master.Master;
import org.apache.spark.deploy.worker.Worker;
import org.apache.spark.rpc.RpcEnv;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import scala.Option;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.mesh.RankMesh;

/** A cluster of two hosts, both this machine under other addresses: one slot on {@link #BAD}, where ranks die, two on {@link #GOOD}. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class LeftOutHostTest {
    private static final String BAD = "127.0.0.2";
    private static final String GOOD = "127.0.0.3";
    private static final String DIES_ON_BAD = "steps=8,save=2,act=kill,after=3,host=" + BAD;

    private static final List<RpcEnv> DAEMONS = new ArrayList<>();
    private static LocalCluster cluster;

    @TempDir
    private Path output;

    private final List<String> placed = new CopyOnWriteArrayList<>();

    @BeforeAll
    static void startCluster(@TempDir Path work) {
        SparkConf conf = new SparkConf(false).set("spark.master.rest.enabled", "false");
        RpcEnv master = Master.startRpcEnvAndEndpoint("127.0.0.1", 0, 0, conf)._1();
        String[] url = {"spark://127.0.0.1:" + master.address().port()};
        DAEMONS.add(worker(BAD, 1, url, work, conf));
        DAEMONS.add(worker(GOOD, 2, url, work, conf));
        DAEMONS.add(master); // last, since Workers complain when it goes before them
        cluster = LocalCluster.start(
                new EmbeddedCluster(2, 1, 512), Map.of("spark.master", url[0], "spark.cores.max", "3"));
    }

    private static RpcEnv worker(String host, int cores, String[] master, Path work, SparkConf conf) {
        return Worker.startRpcEnvAndEndpoint(
                host,
                0,
                0,
                cores,
                512,
                master,
                work.resolve(host).toString(),
                Option.apply(cores),
                conf,
                Option.empty());
    }

    @AfterAll
    static void stopCluster() {
        cluster.close();
        DAEMONS.forEach(RpcEnv::shutdown);
    }

    @Test
    void aHostThatFailedTwiceGetsNoRankAnyMore() throws Exception {
        RunOutcome outcome = run(new RankMesh(2, 2), DIES_ON_BAD + ",attempts=9", 2, false);

        assertThat(outcome.attempts()).isEqualTo(3);
        assertThat(outcome.lastStep().orElseThrow().step()).isEqualTo(8);
        assertThat(placed.subList(0, 2)).containsExactlyInAnyOrder(BAD, GOOD);
        assertThat(placed.subList(2, 4)).containsExactlyInAnyOrder(BAD, GOOD);
        assertThat(placed.subList(4, placed.size())).containsExactly(GOOD, GOOD);
    }

    @Test
    void goesOnWithAHostThatTheRunCanNotDoWithout() throws Exception {
        RunOutcome outcome = run(new RankMesh(3, 3), DIES_ON_BAD, 1, false);

        assertThat(outcome.attempts()).isEqualTo(2);
        assertThat(placed).hasSize(6);
        assertThat(placed.subList(3, 6)).containsExactlyInAnyOrder(BAD, GOOD, GOOD);
    }

    @Test
    void anElasticRunGoesOnWithFewerRanksInstead() throws Exception {
        RunOutcome outcome = run(new RankMesh(3, 1), DIES_ON_BAD + ",attempts=9", 1, true);

        assertThat(outcome.attempts()).isEqualTo(2);
        assertThat(placed).hasSize(5);
        assertThat(placed.subList(3, 5)).containsExactly(GOOD, GOOD);
    }

    private RunOutcome run(RankMesh mesh, String script, int maxHostFailures, boolean elastic) throws Exception {
        int ranks = mesh.worldSize();
        ParallelConfig parallel = new ParallelConfig(
                ranks,
                mesh.sequenceParallelSize(),
                ParallelConfig.Device.CPU,
                30,
                30,
                3,
                maxHostFailures,
                elastic,
                30,
                0,
                false,
                false,
                true);
        TrainingConfig config = Runs.config(output, parallel);
        RankJob job = new RankJob(
                "hosts",
                StandInRank.class.getName(),
                mesh,
                config.withStep(config.step().withAccumulation(2)),
                script,
                List.of());
        return new RunAttempts(cluster.spark(), job, List.of(this::note)).run();
    }

    private void note(RankEvent event) {
        if (event instanceof RankEvent.Placed rank) {
            placed.add(rank.host());
        }
    }
}
