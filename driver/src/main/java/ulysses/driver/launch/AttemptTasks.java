package ulysses.driver.launch;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.spark.ExecutorLostFailure;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerJobEnd;
import org.apache.spark.scheduler.SparkListenerJobStart;
import org.apache.spark.scheduler.SparkListenerTaskEnd;
import org.apache.spark.scheduler.SparkListenerTaskStart;
import scala.jdk.javaapi.CollectionConverters;

/** Counts the tasks of one job group: a failed job returns before its other tasks have ended, and those still hold their GPUs. */
final class AttemptTasks extends SparkListener {
    private final String jobGroup;
    private final Set<Integer> stages = new HashSet<>();
    private final Set<Integer> jobs = new HashSet<>();
    private final Set<Long> running = new HashSet<>();
    private final List<LostTask> lost = new ArrayList<>();
    private boolean jobEnded;

    /** A task that went down with its executor. */
    record LostTask(int partition, String host, String executorId, String reason) {}

    AttemptTasks(String jobGroup) {
        this.jobGroup = jobGroup;
    }

    /** Waits until no task of the group runs any more; false when some still do after {@code limit}. */
    synchronized boolean awaitEnd(Duration limit) throws InterruptedException {
        long deadline = System.nanoTime() + limit.toNanos();
        while (!(jobEnded && running.isEmpty())) {
            long left = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
            if (left <= 0) {
                return false;
            }
            wait(left);
        }
        return true;
    }

    /** Tasks lost with their executor, in order. */
    synchronized List<LostTask> lost() {
        return List.copyOf(lost);
    }

    @Override
    public synchronized void onJobStart(SparkListenerJobStart start) {
        if (start.properties() != null && jobGroup.equals(start.properties().getProperty("spark.jobGroup.id"))) {
            jobs.add(start.jobId());
            CollectionConverters.asJava(start.stageInfos()).forEach(stage -> stages.add(stage.stageId()));
        }
    }

    @Override
    public synchronized void onTaskStart(SparkListenerTaskStart start) {
        if (stages.contains(start.stageId())) {
            running.add(start.taskInfo().taskId());
        }
    }

    @Override
    public synchronized void onTaskEnd(SparkListenerTaskEnd end) {
        if (!stages.contains(end.stageId())) {
            return;
        }
        running.remove(end.taskInfo().taskId());
        if (end.reason() instanceof ExecutorLostFailure failure) {
            String reason = failure.reason().isDefined() ? failure.reason().get() : "no reason given";
            lost.add(new LostTask(
                    end.taskInfo().index(),
                    end.taskInfo().host(),
                    end.taskInfo().executorId(),
                    reason));
        }
        notifyAll();
    }

    @Override
    public synchronized void onJobEnd(SparkListenerJobEnd end) {
        if (jobs.contains(end.jobId())) {
            jobEnded = true;
            notifyAll();
        }
    }
}
