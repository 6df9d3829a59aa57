package ulysses.runtime.check;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.DeviceMemory;
import ulysses.runtime.memory.NativeRuntime;

/**
 * Proves the CUDA path on a machine with a GPU: every attention kernel, gradients and training steps against the CPU path, and NCCL's
 * operations. Prints one JSON object; exit code 0 when everything is within its bound, 1 when something is not, 2 without a GPU.
 */
public final class GpuCheck {

    private static final ObjectMapper JSON = new ObjectMapper();

    private GpuCheck() {}

    /** Needs no arguments; the first visible device is used. */
    public static void main(String[] arguments) throws IOException {
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        System.setOut(System.err);
        NativeRuntime.start(Math.min(8, Runtime.getRuntime().availableProcessors()));
        if (!torch.cuda_is_available()) {
            System.err.println(
                    "error: libtorch finds no CUDA device; build with -Pgpu, point LD_LIBRARY_PATH at CUDA 13, cuDNN 9"
                            + " and NCCL 2, and look at nvidia-smi");
            Runtime.getRuntime().halt(2);
        }
        ObjectNode report = JSON.createObjectNode();
        boolean good = true;
        for (Section section : List.of(
                new Section("attention", AttentionCheck::run),
                new Section("model", ModelCheck::run),
                new Section("collectives", CollectivesCheck::run))) {
            System.err.println("checking " + section.name());
            good &= section.into(report);
        }
        report.put("peak_memory_bytes", DeviceMemory.cuda(0).peak());
        report.put("good", good);
        out.println(JSON.writerWithDefaultPrettyPrinter().writeValueAsString(report));
        Runtime.getRuntime().halt(good ? 0 : 1); // NCCL may never let go of its threads
    }

    /** Measures something; returns one line for each bound it checked. */
    interface Check {
        List<Measured> run();
    }

    /**
     * One number and what it may be.
     *
     * @param what was compared
     * @param difference from what is right
     * @param limit it has to stay below
     */
    record Measured(String what, double difference, double limit) {
        boolean good() {
            return difference < limit; // false for NaN
        }
    }

    private record Section(String name, Check check) {

        boolean into(ObjectNode report) {
            ArrayNode lines = report.putArray(name);
            try {
                List<Measured> results = check.run();
                for (Measured result : results) {
                    lines.addObject()
                            .put("what", result.what())
                            .put("difference", result.difference())
                            .put("limit", result.limit())
                            .put("good", result.good());
                }
                return results.stream().allMatch(Measured::good);
            } catch (RuntimeException failure) {
                failure.printStackTrace(System.err); // the rest is still worth a look
                lines.addObject().put("what", "stopped: " + failure).put("good", false);
                return false;
            }
        }
    }
}
