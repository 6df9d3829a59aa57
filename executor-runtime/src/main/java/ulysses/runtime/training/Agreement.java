package ulysses.runtime.training;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.memory.TensorScope;

/** What ranks tell each other outside of the math. Collective: every rank calls the same methods in the same order. */
final class Agreement {

    private final Collectives world;
    private final Device device;

    /** Over all ranks of {@code world}, whose tensors lie on {@code device}. */
    Agreement(Collectives world, Device device) {
        this.world = world;
        this.device = device;
    }

    /** The sum of {@code value} over all ranks, in float64. */
    double sum(double value) {
        return sum(new double[] {value})[0];
    }

    /** The sums of {@code values} over all ranks, in float64; at least one value. */
    double[] sum(double[] values) {
        return world.sum(values, device);
    }

    /** The texts of all ranks, in order of ranks. */
    List<String> gather(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        long[] values = new long[bytes.length];
        Arrays.setAll(values, i -> bytes[i]);
        List<String> texts = new ArrayList<>();
        for (long[] other : gather(values)) {
            byte[] one = new byte[other.length];
            for (int i = 0; i < one.length; i++) {
                one[i] = (byte) other[i];
            }
            texts.add(new String(one, StandardCharsets.UTF_8));
        }
        return texts;
    }

    /** The values of all ranks, in order of ranks; each may have any number of them. */
    List<long[]> gather(long[] values) {
        long[] lengths = gatherAlike(new long[] {values.length});
        int longest = Math.toIntExact(Arrays.stream(lengths).max().orElseThrow());
        long[] all = gatherAlike(Arrays.copyOf(values, longest));
        List<long[]> parts = new ArrayList<>();
        for (int rank = 0; rank < lengths.length; rank++) {
            int from = rank * longest;
            parts.add(Arrays.copyOfRange(all, from, from + (int) lengths[rank]));
        }
        return parts;
    }

    private long[] gatherAlike(long[] values) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor in = torch.tensor(values, options(torch.ScalarType.Long)).to(device, torch.ScalarType.Long);
            long[] gathered = new long[values.length * world.size()];
            if (gathered.length == 0) {
                return gathered;
            }
            Tensor out = torch.zeros(new long[] {gathered.length}, in.options());
            Tensor host = world.allGather(out, in).await().cpu();
            new LongPointer(host.data_ptr()).get(gathered);
            return gathered;
        }
    }

    private static TensorOptions options(torch.ScalarType type) {
        return new TensorOptions().dtype(new ScalarTypeOptional(type));
    }
}
