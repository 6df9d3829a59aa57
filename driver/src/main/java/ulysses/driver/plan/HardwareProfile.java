package ulysses.driver.plan;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import ulysses.runtime.config.ConfigException;

/**
 * One device as a rank has it: an entry of conf/hardware.yaml, where every figure is explained.
 *
 * @param name of the entry
 * @param memoryGib total memory in GiB; 0 where it is the machine's, see {@link #shareOf}
 * @param usableShare of the memory that can be counted on; the rest is for what an allocator can't use again
 * @param reservedGib taken before the first tensor, in GiB
 * @param peakTflops peak of matrix products in 10^12 operations a second
 * @param matmulShare of the peak that matrix products reach
 * @param attentionShare of the peak that attention reaches
 * @param longAttentionShare the same for long dense documents in bfloat16; 0 where it is the same
 * @param memoryGbPerS bandwidth of its memory in 10^9 bytes a second
 * @param linkGbPerS bandwidth to other devices of the host, one direction
 * @param networkGbPerS bandwidth to other hosts, one direction
 * @param linkShare of link and network that collectives reach
 * @param devicesPerHost devices of a host
 */
public record HardwareProfile(
        String name,
        @JsonProperty("memory_gib") double memoryGib,
        @JsonProperty("usable_share") double usableShare,
        @JsonProperty("reserved_gib") double reservedGib,
        @JsonProperty("peak_tflops") double peakTflops,
        @JsonProperty("matmul_share") double matmulShare,
        @JsonProperty("attention_share") double attentionShare,
        @JsonProperty("long_attention_share") double longAttentionShare,
        @JsonProperty("memory_gb_per_s") double memoryGbPerS,
        @JsonProperty("link_gb_per_s") double linkGbPerS,
        @JsonProperty("network_gb_per_s") double networkGbPerS,
        @JsonProperty("link_share") double linkShare,
        @JsonProperty("devices_per_host") int devicesPerHost) {

    /** Name of the entry of machines without GPUs. */
    public static final String CPU = "cpu";

    private static final String FILE = "hardware.yaml";
    private static final double GIB = 1L << 30;
    /** Peaks of GPUs are bfloat16's; float32's are so many times lower: 989 to 67 on H100, 312 to 19.5 on A100 (data sheets). */
    private static final int FLOAT32_TIMES = 15;

    /** The machine that plans, for ranks on its CPU. */
    public record Machine(int cores, long memoryBytes) {}

    public HardwareProfile {
        name = Objects.requireNonNullElse(name, "");
        boolean complete = reservedGib >= 0
                && memoryGib >= 0
                && peakTflops > 0
                && memoryGbPerS > 0
                && linkGbPerS > 0
                && networkGbPerS > 0
                && devicesPerHost > 0;
        longAttentionShare = longAttentionShare == 0 ? attentionShare : longAttentionShare;
        boolean shares = isShare(usableShare)
                && isShare(matmulShare)
                && isShare(attentionShare)
                && isShare(longAttentionShare)
                && isShare(linkShare);
        if (!complete || !shares) {
            throw new IllegalArgumentException(
                    "a figure is missing, 0 or below, or a share is not above 0 and at most 1");
        }
    }

    private static boolean isShare(double share) {
        return share > 0 && share <= 1;
    }

    /** All devices of the first hardware.yaml on the class path: the one in conf/, else the one in our jar. */
    public static List<HardwareProfile> all() {
        try (InputStream file = HardwareProfile.class.getClassLoader().getResourceAsStream(FILE)) {
            if (file == null) {
                throw new ConfigException(FILE, List.of("there is none on the class path; put the folder conf on it"));
            }
            return parse(new String(file.readAllBytes(), StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw new ConfigException(FILE, List.of("it can't be read: " + e.getMessage()));
        }
    }

    /**
     * The entry {@code name} of {@link #all}.
     *
     * @throws ConfigException if there is none
     */
    public static HardwareProfile of(String name) {
        List<HardwareProfile> all = all();
        return all.stream()
                .filter(profile -> profile.name().equals(name))
                .findFirst()
                .orElseThrow(() -> new ConfigException(
                        "hardware",
                        List.of("hardware %s is not in hardware.yaml; use one of %s, or add it there"
                                .formatted(
                                        name,
                                        String.join(
                                                ", ",
                                                all.stream()
                                                        .map(HardwareProfile::name)
                                                        .toList())))));
    }

    /** Operations a second of a device at its peak; on the CPU of one core. */
    public double peakFlops(boolean bfloat16) {
        return peakTflops * 1e12 / (isCpu() || bfloat16 ? 1 : FLOAT32_TIMES);
    }

    /** The devices that {@code yaml} describes, in its order. */
    static List<HardwareProfile> parse(String yaml) {
        try {
            Map<String, HardwareProfile> entries =
                    new YAMLMapper().readValue(yaml, new TypeReference<LinkedHashMap<String, HardwareProfile>>() {});
            if (entries == null || entries.containsValue(null)) {
                throw new ConfigException(
                        FILE,
                        List.of("it is empty, or an entry has no figures; correct it as conf/hardware.yaml says"));
            }
            List<HardwareProfile> profiles = new ArrayList<>();
            entries.forEach((name, profile) -> profiles.add(profile.named(name)));
            return List.copyOf(profiles);
        } catch (IOException e) {
            String message = String.valueOf(e.getMessage()).lines().findFirst().orElse("");
            throw new ConfigException(
                    FILE,
                    List.of("an entry can't be used: %s; correct it as conf/hardware.yaml says".formatted(message)));
        }
    }

    private HardwareProfile named(String given) {
        return with(given, memoryGib, peakTflops, memoryGbPerS);
    }

    private HardwareProfile with(String newName, double memory, double peak, double bandwidth) {
        return new HardwareProfile(
                newName,
                memory,
                usableShare,
                reservedGib,
                peak,
                matmulShare,
                attentionShare,
                longAttentionShare,
                bandwidth,
                linkGbPerS,
                networkGbPerS,
                linkShare,
                devicesPerHost);
    }

    /** Whether this is the entry of machines without GPUs. */
    public boolean isCpu() {
        return name.equals(CPU);
    }

    /** What one of {@code ranks} on {@code machine} has of it; other devices than the CPU stay as they are. */
    public HardwareProfile shareOf(Machine machine, int ranks) {
        if (!isCpu()) {
            return this;
        }
        double cores = Math.max(1, machine.cores() / ranks);
        double memory = memoryGib > 0 ? memoryGib : machine.memoryBytes() / GIB / ranks;
        return with(name, memory, peakTflops * cores, memoryGbPerS * cores);
    }

    /** Total memory in bytes. */
    public long memoryBytes() {
        return Math.round(memoryGib * GIB);
    }

    /** Bytes that can be counted on. */
    public long usableBytes() {
        return (long) (memoryBytes() * usableShare);
    }

    /** Bytes taken before the first tensor. */
    public long reservedBytes() {
        return Math.round(reservedGib * GIB);
    }

    /** Bytes a second that a collective of {@code ranks} neighbouring ranks moves. */
    double collectiveBytesPerSecond(int ranks) {
        return (ranks <= devicesPerHost ? linkGbPerS : networkGbPerS) * linkShare * 1e9;
    }
}
