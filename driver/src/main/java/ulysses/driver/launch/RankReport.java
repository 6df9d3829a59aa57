package ulysses.driver.launch;

import com.fasterxml.jackson.annotation.JsonSubTypes;
import com.fasterxml.jackson.annotation.JsonTypeInfo;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.mesh.RankEvent;

/** What a task tells the driver while the stage runs: one JSON object a line on its connection to {@link ReportServer}. */
@JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = "report")
@JsonSubTypes({
    @JsonSubTypes.Type(value = RankReport.Hello.class, name = "hello"),
    @JsonSubTypes.Type(value = RankReport.Seated.class, name = "seated"),
    @JsonSubTypes.Type(value = RankReport.Happened.class, name = "happened"),
    @JsonSubTypes.Type(value = RankReport.Ended.class, name = "ended"),
    @JsonSubTypes.Type(value = RankReport.Stacks.class, name = "stacks"),
    @JsonSubTypes.Type(value = RankReport.Alive.class, name = "alive")
})
sealed interface RankReport {

    /** The first line: who speaks, and the token that allows it. */
    record Hello(String token, int attempt, int partition, String host, String executorId) implements RankReport {}

    /** The task's rank process {@code processId} has got world rank {@code rank}; {@code device} is its GPU, null on CPU. */
    record Seated(int rank, long processId, @Nullable String device) implements RankReport {}

    /** The rank process reported {@code event}. */
    record Happened(RankEvent event) implements RankReport {}

    /** The rank failed. */
    record Ended(RankFailure failure) implements RankReport {}

    /** The answer to {@link ReportServer#STACKS}: what all threads of the rank process do. */
    record Stacks(String text) implements RankReport {}

    /** Says nothing but that the task is there and reaches the driver; once a second. */
    record Alive() implements RankReport {}

    /** No task says so: the driver has heard nothing of it for {@code seconds}, though its connection was never closed. */
    record Silent(long seconds) implements RankReport {}
}
