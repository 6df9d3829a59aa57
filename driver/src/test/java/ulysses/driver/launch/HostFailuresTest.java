package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.driver.launch.RankFailure.Cause;

class HostFailuresTest {

    @Test
    void leavesOutAHostAtItsLimitAndSaysWhyOnce() {
        HostFailures hosts = new HostFailures(2);

        assertThat(hosts.add("b", failure("b", Cause.CRASHED))).isEmpty();
        assertThat(hosts.add("a", failure("a", Cause.CRASHED))).isEmpty();
        assertThat(hosts.leftOut()).isEmpty();
        assertThat(hosts.add("b", failure("b", Cause.HUNG)))
                .hasValue("host b is left out of the next attempts: 2 failed on it (max_host_failures 2); look at that"
                        + " machine, then run the command again to use it; the last one: it did");
        assertThat(hosts.leftOut()).containsExactly("b");
        assertThat(hosts.add("b", failure("b", Cause.CRASHED))).isEmpty();
    }

    @Test
    void needsAllHostsUntilTheNextFailure() {
        HostFailures hosts = new HostFailures(1);
        hosts.add("b", failure("b", Cause.CRASHED));

        hosts.needAll();

        assertThat(hosts.leftOut()).isEmpty();
        hosts.add("a", failure("a", Cause.CRASHED));
        assertThat(hosts.leftOut()).containsExactly("a", "b");
    }

    @Test
    void zeroNeverLeavesOneOut() {
        HostFailures hosts = new HostFailures(0);

        assertThat(hosts.add("b", failure("b", Cause.CRASHED))).isEmpty();

        assertThat(hosts.leftOut()).isEmpty();
    }

    @ParameterizedTest(name = "{0} on host {1}")
    @CsvSource({
        "EXECUTOR_LOST, b, true",
        "CRASHED, b, true",
        "HUNG, b, true",
        "HUNG, unknown, false",
        "CUT_OFF, b, false",
        "REPORTED, b, false",
    })
    void onlyADeadOrSilentRankSpeaksAgainstItsHost(Cause cause, String host, boolean speaks) {
        assertThat(failure(host, cause).speaksAgainstHost()).isEqualTo(speaks);
    }

    private static RankFailure failure(String host, Cause cause) {
        return new RankFailure(1, host, "step", 3, FailureKind.INFRASTRUCTURE, cause, "it did", List.of());
    }
}
