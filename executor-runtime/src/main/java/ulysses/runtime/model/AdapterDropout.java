package ulysses.runtime.model;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.zip.CRC32C;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorScope;

/**
 * Drops inputs of an adapter during training: each with probability {@code rate}, and scales the others by 1 / (1 - rate). What is
 * dropped is a function of seed, token, module and feature alone, so any number of ranks drops the same, and recomputation too
 * (numerics.md, rule 11). Tokens are numbered over the whole run, so each step draws anew.
 */
final class AdapterDropout {

    /** Drops nothing. */
    static final AdapterDropout OFF = new AdapterDropout(0, 0, new long[0]);

    /** Elements hashed at once: 32 MiB of int64; chosen, not tuned. */
    private static final long TILE_ELEMENTS = 4L << 20;

    private static final int UNIFORM_BITS = 24;

    private final double rate;
    private final long seed;
    private final long[] tokens;

    /** {@code tokens}: the numbers of the rows of what is dropped from. */
    @SuppressWarnings("ArrayRecordComponent")
    AdapterDropout(double rate, long seed, long[] tokens) {
        this.rate = rate;
        this.seed = seed;
        this.tokens = tokens;
    }

    /** For rows {@code first} to {@code first + rows} of those that this is for. */
    AdapterDropout part(long first, long rows) {
        return rate == 0
                ? this
                : new AdapterDropout(rate, seed, Arrays.copyOfRange(tokens, (int) first, (int) (first + rows)));
    }

    /** {@code x} [s,in] with what {@code module} drops set to 0 and the rest scaled; {@code x} itself when nothing is dropped. */
    Tensor apply(Tensor x, String module) {
        return rate == 0 ? x : x.mul(mask(x, module));
    }

    private Tensor mask(Tensor x, String module) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor mask = torch.empty_like(x.detach());
            Device device = x.device();
            Tensor features = mixed(
                    torch.arange(new Scalar(x.size(1)), integers(device)).add_(new Scalar(seedOf(module)))); // [in]
            Tensor rows = mixed(torch.tensor(tokens).to(device, torch.ScalarType.Long)); // [s]
            long tile = Math.max(1, TILE_ELEMENTS / x.size(1));
            for (long first = 0; first < x.size(0); first += tile) {
                fill(mask.narrow(0, first, Math.min(tile, x.size(0) - first)), rows, first, features);
            }
            return scope.keep(mask);
        }
    }

    private void fill(Tensor mask, Tensor rows, long first, Tensor features) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor tokens = rows.narrow(0, first, mask.size(0)).unsqueeze(1); // [t,1]
            Tensor hash = mixed(tokens.add(features)); // [t,in]
            Tensor uniform = shifted(hash, Long.SIZE - UNIFORM_BITS);
            long limit = Math.round(rate * (1 << UNIFORM_BITS));
            mask.copy_(uniform.ge(new Scalar(limit))).mul_(new Scalar(1 / (1 - rate)));
        }
    }

    private static TensorOptions integers(Device device) {
        return new TensorOptions()
                .dtype(new ScalarTypeOptional(torch.ScalarType.Long))
                .device(new DeviceOptional(device));
    }

    private long seedOf(String module) {
        CRC32C checksum = new CRC32C();
        checksum.update(module.getBytes(StandardCharsets.UTF_8));
        return (seed * 0x9E3779B97F4A7C15L + checksum.getValue()) << 20; // room for the features of a module
    }

    /** SplitMix64's finalizer (Steele and others, 2014), element by element and in place. */
    private static Tensor mixed(Tensor x) {
        x.bitwise_xor_(shifted(x, 30)).mul_(new Scalar(0xBF58476D1CE4E5B9L));
        x.bitwise_xor_(shifted(x, 27)).mul_(new Scalar(0x94D049BB133111EBL));
        return x.bitwise_xor_(shifted(x, 31));
    }

    /** x >>> bits: torch shifts in copies of the sign. */
    private static Tensor shifted(Tensor x, int bits) {
        return x.bitwise_right_shift(new Scalar((long) bits)).bitwise_and_(new Scalar(-1L >>> bits));
    }
}
