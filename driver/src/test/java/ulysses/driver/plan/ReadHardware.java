package ulysses.driver.plan;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** A hardware.yaml as {@link HardwareProfile#all} reads it, from any path; for tests with many files. */
public final class ReadHardware {
    private ReadHardware() {}

    /** How many devices {@code file} describes, each asked for what a plan asks. */
    public static int devices(Path file) throws IOException {
        List<HardwareProfile> devices = HardwareProfile.parse(Files.readString(file));
        devices.forEach(HardwareProfile::memoryBytes);
        return devices.size();
    }
}
