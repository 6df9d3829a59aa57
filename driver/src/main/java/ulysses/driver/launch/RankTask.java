package ulysses.driver.launch;

import java.io.IOException;
import java.io.PrintStream;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeoutException;
import java.util.stream.IntStream;
import org.apache.spark.BarrierTaskContext;
import org.apache.spark.BarrierTaskInfo;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;
import org.apache.spark.SparkFiles;
import org.apache.spark.resource.ResourceInformation;
import org.apache.spark.util.Utils;
import org.jspecify.annotations.Nullable;
import scala.Function1;
import scala.collection.Iterator;
import scala.jdk.javaapi.CollectionConverters;
import ulysses.driver.launch.DeviceAssignment.Placement;
import ulysses.driver.launch.DeviceAssignment.Seat;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.mesh.RankMesh;

/**
 * One barrier task: starts its rank process at once, so that JVM and native libraries come up while the tasks meet, agrees with the
 * other tasks on who is which rank, and stays until the process has ended.
 */
final class RankTask implements Function1<Iterator<Integer>, Iterator<Integer>>, Serializable {
    private static final long serialVersionUID = 1L;

    /** What a task gives whose host is left out. */
    static final int LEFT_OUT = -2;

    /** What a task gives that has no rank, because others have them all, or because there are too few others. */
    private static final int NO_RANK = -1;

    private static final String THREADS = "OMP_NUM_THREADS";

    private final String job;
    private final Attempt attempt;
    private final HashMap<String, String> hadoop;
    private final RankStarter starter;

    /** @param hadoop file system settings of the driver that are not defaults */
    RankTask(RankJob job, Attempt attempt, Map<String, String> hadoop, RankStarter starter) {
        this.starter = starter;
        this.job = JsonLines.write(job);
        this.attempt = attempt;
        this.hadoop = new HashMap<>(hadoop);
    }

    /** Gives the world rank whose work is done, or a negative number when this task had none. */
    @Override
    public Iterator<Integer> apply(Iterator<Integer> partition) {
        BarrierTaskContext context = BarrierTaskContext.get();
        try {
            return CollectionConverters.asScala(List.of(run(context)).iterator());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("the task was ended before its rank was done", e);
        } catch (IOException e) {
            throw new UncheckedIOException("the driver can't be reached: " + e.getMessage(), e);
        }
    }

    private int run(BarrierTaskContext context) throws IOException, InterruptedException {
        RankJob shared = JsonLines.readOwn(job, RankJob.class);
        List<String> addresses = Arrays.stream(context.getTaskInfos())
                .map(BarrierTaskInfo::address)
                .toList();
        String here =
                SparkEnv.get().blockManager().blockManagerId().host(); // the name that Spark reports lost tasks by
        List<Integer> seated = seated(context, here, shared.mesh());
        int seat = seated.indexOf(context.partitionId());
        if (seat < 0) {
            if (!seated.isEmpty()) {
                rendezvous(context, shared).watch();
            }
            return attempt.leftOut().contains(here) ? LEFT_OUT : NO_RANK;
        }
        RankReport.Hello hello = new RankReport.Hello(
                attempt.driver().token(),
                attempt.number(),
                context.partitionId(),
                here,
                SparkEnv.get().executorId());
        try (DriverLink link = DriverLink.open(attempt.driver(), hello)) {
            try {
                TaskHost host =
                        TaskHost.of(here, seated.stream().map(addresses::get).toList(), seat, link.localAddress());
                return new Supervision(context, shared, link, host).run();
            } catch (LaunchException e) {
                link.send(new RankReport.Ended(outsideOfRank(hello.host(), e)));
                throw e;
            } catch (IOException e) {
                LaunchException told = notStarted(hello.host(), e);
                link.send(new RankReport.Ended(outsideOfRank(hello.host(), told)));
                throw told;
            }
        }
    }

    /** Partitions that get a rank, in ascending order; none when too few are on hosts that are not left out. */
    private List<Integer> seated(BarrierTaskContext context, String here, RankMesh mesh) {
        return attempt.leftOut().isEmpty()
                ? IntStream.range(0, mesh.worldSize()).boxed().toList()
                : DeviceAssignment.seated(List.of(context.allGather(here)), attempt.leftOut(), mesh);
    }

    /** Looks for about rendezvous_timeout: one that fails takes 3 s of connecting, 1 of gathering and a pause of 2. */
    private static Rendezvous rendezvous(BarrierTaskContext context, RankJob shared) {
        int looks = 1 + shared.config().parallel().rendezvousSeconds() / 6;
        return new Rendezvous(mine -> List.of(context.allGather(mine)), looks);
    }

    private static LaunchException notStarted(String host, IOException e) {
        return new LaunchException(
                FailureKind.INFRASTRUCTURE,
                "the process of a rank can't be started or fed on host %s (%s: %s); look at the disk of spark.local.dir there, and at its limits of memory and processes"
                        .formatted(host, e.getClass().getSimpleName(), e.getMessage()),
                e);
    }

    private static RankFailure outsideOfRank(String host, LaunchException e) {
        RankFailure.Cause cause =
                e.kind() == FailureKind.INFRASTRUCTURE ? RankFailure.Cause.TASK : RankFailure.Cause.REPORTED;
        return new RankFailure(-1, host, "meet", 0, e.kind(), cause, String.valueOf(e.getMessage()), List.of());
    }

    /** One execution of the task on its executor. */
    private final class Supervision {
        private final BarrierTaskContext context;
        private final SparkConf conf = SparkEnv.get().conf();
        private final RankJob shared;
        private final DriverLink link;
        private final TaskHost host;
        private final int threads;
        private final @Nullable String device;

        Supervision(BarrierTaskContext context, RankJob shared, DriverLink link, TaskHost host)
                throws InterruptedException {
            this.context = context;
            this.shared = shared;
            this.link = link;
            this.host = host;
            this.threads = threads();
            this.device = device();
        }

        int run() throws IOException, InterruptedException {
            Path local = Path.of(Utils.getLocalDir(conf));
            String label = "task " + context.partitionId();
            PrintStream log = System.err; // the executor's own log file
            try (ScratchDirectory scratch = ScratchDirectory.in(local, "ulysses-rank-");
                    RankProcess child = RankProcess.start(
                            command(scratch.path()), starter, label, e -> link.send(new RankReport.Happened(e)), log)) {
                link.whenStacksAsked(() -> link.send(new RankReport.Stacks(child.stackDump())));
                int rank = meet(child, scratch.path());
                if (!child.await(context::isInterrupted)) {
                    throw ended(child.failure(rank, host.name()));
                }
                return rank;
            }
        }

        private RankCommand command(Path directory) throws IOException {
            ClassLoader loader = Thread.currentThread().getContextClassLoader();
            return RankCommand.prepare(
                    new RankCommand.Wishes(
                            shared.mainClass(),
                            shared.runId() + "/" + attempt.number(),
                            directory,
                            threads,
                            device,
                            hadoop,
                            Path.of(SparkFiles.getRootDirectory(), RankCommand.NATIVES)
                                    .toAbsolutePath()),
                    conf,
                    loader);
        }

        /** Meets the other tasks; the child has its assignment afterwards. */
        private int meet(RankProcess child, Path directory) throws IOException, InterruptedException {
            Rendezvous rendezvous = rendezvous(context, shared);
            Seat seat = new Seat(
                    context.partitionId(), host.address(), SparkEnv.get().executorId(), device, child.processId());
            Rendezvous.Seating seating = seating(rendezvous, seat);
            List<Placement> places = seating.places();
            Placement mine = places.stream()
                    .filter(place -> place.seat().partition() == seat.partition())
                    .findFirst()
                    .orElseThrow();
            link.send(new RankReport.Seated(mine.rank(), child.processId(), seat.device()));
            String address = seating.address(host.address());
            if (seat.device() != null && seating.severalHosts()) {
                Optional<String> leading = TaskHost.networkInterface(address);
                if (leading.isPresent()) {
                    RankCommand.writeInterface(directory, leading.get());
                }
            }
            if (mine.rank() == 0) {
                warnOfGroupsAcrossHosts(places);
                child.assign(assignment(0, address, new Rendezvous.Store(address, 0), directory));
                rendezvous.publish(new Rendezvous.Store(address, storePort(child)));
            } else {
                Rendezvous.Store store = rendezvous.await(places.get(0).seat().partition());
                child.assign(assignment(mine.rank(), address, store, directory));
            }
            return mine.rank();
        }

        private Rendezvous.Seating seating(Rendezvous rendezvous, Seat seat) throws IOException, InterruptedException {
            int group = shared.mesh().sequenceParallelSize();
            if (!host.speaks()) {
                return rendezvous.seat(seat, group, null);
            }
            String chosen = System.getenv(device == null ? "GLOO_SOCKET_IFNAME" : "NCCL_SOCKET_IFNAME");
            try (AddressProbe probe = AddressProbe.listen(host.address(), host.addresses(chosen))) {
                return rendezvous.seat(seat, group, probe);
            }
        }

        private void warnOfGroupsAcrossHosts(List<Placement> places) {
            int group = shared.mesh().sequenceParallelSize();
            int across = DeviceAssignment.groupsAcrossHosts(places, group);
            if (across > 0) {
                String text =
                        "%d of %d sequence-parallel groups span hosts, and every attention layer waits for their network; give each host a multiple of sequence_parallel_size %d ranks"
                                .formatted(across, shared.mesh().dataParallelSize(), group);
                link.send(new RankReport.Happened(new RankEvent.Warning(0, text)));
            }
        }

        private int storePort(RankProcess child) throws IOException, InterruptedException {
            int seconds = shared.config().parallel().rendezvousSeconds();
            try {
                int port = child.awaitStore(Duration.ofSeconds(seconds), context::isInterrupted);
                if (port < 0) {
                    throw ended(child.failure(0, host.name()));
                }
                return port;
            } catch (TimeoutException e) {
                throw ended(new RankFailure(
                        0,
                        host.name(),
                        "meet",
                        0,
                        FailureKind.INFRASTRUCTURE,
                        RankFailure.Cause.CUT_OFF,
                        e.getMessage() + "; raise rendezvous_timeout if its host is slow",
                        child.lastLines()));
            }
        }

        private RankAssignment assignment(int rank, String address, Rendezvous.Store store, Path directory) {
            return new RankAssignment(
                    rank,
                    shared.mesh(),
                    address,
                    store.host(),
                    store.port(),
                    attempt.number(),
                    shared.runId(),
                    0, // the child sees one device only
                    threads,
                    shared.trainRows(),
                    shared.evalRows(),
                    directory.toString(),
                    shared.config());
        }

        private IllegalStateException ended(RankFailure failure) {
            link.send(new RankReport.Ended(failure));
            return new IllegalStateException(failure.describe());
        }

        /** The GPU of the task, by its UUID where that is known; null on CPU. */
        private @Nullable String device() throws InterruptedException {
            if (shared.config().parallel().device() == Device.CPU) {
                return null;
            }
            ResourceInformation gpu = context.resourcesJMap().get("gpu");
            if (gpu == null || gpu.addresses().length == 0) {
                throw new LaunchException(
                        FailureKind.CONFIG,
                        "device: cuda, but Spark gave task %d no GPU; set spark.executor.resource.gpu.amount and a discovery script"
                                .formatted(context.partitionId()));
            }
            String given = RankCommand.visibleDevice(System.getenv("CUDA_VISIBLE_DEVICES"), gpu.addresses()[0]);
            int patience = shared.config().parallel().rendezvousSeconds();
            return GpuState.whenFree(conf, given, host.name(), patience)
                    .map(GpuState::uuid)
                    .orElse(given);
        }

        /** The user's choice for executors, else the cores that Spark gave the task, else a fair part of the machine. */
        private int threads() {
            String preset = System.getenv(THREADS);
            if (preset != null && preset.matches("[1-9][0-9]{0,3}")) {
                return Integer.parseInt(preset);
            }
            if (RankCores.chosen(conf)) {
                return context.cpus();
            }
            return Math.max(1, Runtime.getRuntime().availableProcessors() / host.ranks());
        }
    }
}
