package ulysses.driver.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.driver.plan.HardwareProfile.Machine;
import ulysses.runtime.config.ConfigException;

class HardwareProfileTest {

    @Test
    void theShippedFileNamesTheDevicesOfThePlan() {
        assertThat(HardwareProfile.all())
                .extracting(HardwareProfile::name)
                .containsExactly("h100", "h200", "a100-80", "a100-40", "l40s", "cpu");
        assertThat(HardwareProfile.all())
                .filteredOn(profile -> !profile.isCpu())
                .allSatisfy(profile -> assertThat(profile.memoryGib()).isBetween(30.0, 150.0));
    }

    @Test
    void ranksOnTheCpuShareTheMachine() {
        HardwareProfile cpu = HardwareProfile.all().get(5);
        Machine machine = new Machine(8, 64L << 30);

        HardwareProfile share = cpu.shareOf(machine, 2);

        assertThat(share.memoryBytes()).isEqualTo(32L << 30);
        assertThat(share.peakTflops()).isEqualTo(4 * cpu.peakTflops());
        assertThat(cpu.shareOf(machine, 16).peakTflops()).isEqualTo(cpu.peakTflops());
        HardwareProfile gpu = HardwareProfile.all().get(0);
        assertThat(gpu.shareOf(machine, 2)).isEqualTo(gpu);
    }

    @Test
    void refusesAnEntryThatCantBeUsed() {
        assertThatThrownBy(() -> HardwareProfile.parse("mine:\n  memory_gib: 10\n"))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("hardware.yaml")
                .hasMessageContaining("a figure is missing");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "mine:\n", "---\n"})
    void refusesAFileOrAnEntryWithoutFigures(String yaml) {
        assertThatThrownBy(() -> HardwareProfile.parse(yaml))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("hardware.yaml")
                .hasMessageContaining("correct it as conf/hardware.yaml says");
    }
}
