package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RankExitTest {

    @ParameterizedTest(name = "code {0}, {1} kills for memory")
    @CsvSource({
        "0, 0, without saying that it was done",
        "3, 0, --conf spark.ulysses.rank.memory=2g",
        "9, 0, ended with code 9 without saying why",
        "70, 0, its task closed its standard input",
        "134, 0, signal 6 (SIGABRT)",
        "137, 0, if nobody did that by hand",
        "137, 1, because this container ran out of memory; raise spark.executor.memoryOverhead",
        "139, 0, signal 11 (SIGSEGV)",
        "143, 0, signal 15 (SIGTERM)",
        "136, 0, ended by signal 8",
    })
    void saysWhatACodeMeans(int code, long oomKills, String part) {
        assertThat(new RankExit(code, oomKills, List.of()).describe()).contains(part);
    }

    @Test
    void seesThatAProcessIsStoppedAndThatItGoesOn() throws Exception {
        Process process = new ProcessBuilder("sleep", "60").start();
        try {
            assertThat(RankExit.isStopped(process.pid())).isFalse();

            signal("STOP", process);
            LocalCluster.await("the stop", Duration.ofSeconds(10), () -> RankExit.isStopped(process.pid()));

            signal("CONT", process);
            LocalCluster.await("its end", Duration.ofSeconds(10), () -> !RankExit.isStopped(process.pid()));
        } finally {
            process.destroyForcibly();
        }
    }

    private static void signal(String name, Process process) throws Exception {
        int code = new ProcessBuilder("kill", "-" + name, Long.toString(process.pid()))
                .start()
                .waitFor();
        assertThat(code).isZero();
    }

    @Test
    void findsTheHeadOfTheCrashReport(@TempDir Path directory) throws Exception {
        Files.write(
                directory.resolve("hs_err_pid7.log"),
                IntStream.range(0, 100).mapToObj(line -> "# line " + line).toList());

        List<String> report = RankExit.crashReportIn(directory);

        assertThat(report).hasSize(40).startsWith("# line 0");
        assertThat(new RankExit(134, 0, report).describe()).endsWith("the JVM's crash report stands in its log");
    }

    @Test
    void blamesTheFailureThatIsLeastLikelyAnEcho() {
        RankFailure echo = failure(0, RankFailure.Cause.CUT_OFF);
        RankFailure crash = failure(1, RankFailure.Cause.CRASHED);
        RankFailure secondCrash = failure(2, RankFailure.Cause.CRASHED);

        assertThat(RankFailure.first(List.of(echo, crash, secondCrash))).contains(crash);
        assertThat(RankFailure.first(List.of())).isEmpty();
    }

    @ParameterizedTest
    @CsvSource({"start,false", "load,false", "step,true"})
    void triesAgainWhereAProcessThatTrainedEndedWithoutAWord(String phase, boolean again) {
        assertThat(failure(0, phase, RankFailure.Cause.EXITED).retryable()).isEqualTo(again);
    }

    private static RankFailure failure(int rank, RankFailure.Cause cause) {
        return failure(rank, "step", cause);
    }

    private static RankFailure failure(int rank, String phase, RankFailure.Cause cause) {
        return new RankFailure(rank, "host", phase, 3, FailureKind.INFRASTRUCTURE, cause, "reason", List.of());
    }
}
