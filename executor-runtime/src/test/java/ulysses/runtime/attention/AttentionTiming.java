package ulysses.runtime.attention;

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.memory.NativeRuntime;
import ulysses.runtime.memory.TensorScope;

/**
 * Prints what forward and backward of attention cost on this machine, over lengths and patterns: 4 heads over 2 of 64, float32, one
 * document, processor time of the one thread, the faster of two runs. Run: {@code java -cp <test class path> ulysses.runtime.attention.AttentionTiming
 * LONGEST LONGEST_DENSE}.
 */
final class AttentionTiming {
    private static final int HEADS = 4;
    private static final int KV_HEADS = 2;
    private static final int SIZE = 64;
    private static final int SHORTEST = 8192;

    private static final ThreadMXBean CLOCK = ManagementFactory.getThreadMXBean();

    private AttentionTiming() {}

    public static void main(String[] arguments) {
        NativeRuntime.start(1);
        int longest = Integer.parseInt(arguments[0]);
        int longestDense = Integer.parseInt(arguments[1]);
        Map<String, AttentionPattern> patterns = new LinkedHashMap<>();
        patterns.put("dense", AttentionPattern.DENSE);
        patterns.put("window 512", AttentionPattern.window(512));
        patterns.put("window 512, 4 sinks", AttentionPattern.window(512).withSinks(4));
        patterns.put("window 4096", AttentionPattern.window(4096));
        patterns.put("blocks 4+1 of 128", new AttentionPattern(128, 4, 128));
        patterns.put("blocks 8+4 of 256", new AttentionPattern(256, 8, 1024));
        System.out.println("| pattern | tokens | pairs, millions | forward, s | backward, s | ns a pair and head |");
        System.out.println("|--|--|--|--|--|--|");
        patterns.forEach((name, pattern) -> {
            for (int tokens = SHORTEST; tokens <= (pattern.isDense() ? longestDense : longest); tokens *= 2) {
                row(name, pattern, tokens);
            }
        });
    }

    private static void row(String name, AttentionPattern pattern, int tokens) {
        double[] fastest = {Double.MAX_VALUE, Double.MAX_VALUE};
        for (int run = 0; run < 2; run++) {
            double[] seconds = seconds(CoreAttention.on(Device.CPU, pattern), tokens);
            Arrays.setAll(fastest, i -> Math.min(fastest[i], seconds[i]));
        }
        double pairs = pattern.pairs(tokens);
        System.out.printf(
                Locale.ROOT,
                "| %s | %d | %.1f | %.2f | %.2f | %.1f |%n",
                name,
                tokens,
                pairs / 1e6,
                fastest[0],
                fastest[1],
                (fastest[0] + fastest[1]) * 1e9 / pairs / HEADS);
    }

    /** Of forward and backward. */
    private static double[] seconds(CoreAttention core, int tokens) {
        try (TensorScope scope = TensorScope.open()) {
            SequenceLayout layout = new SequenceLayout(new int[] {0, tokens});
            Qkv qkv = new Qkv(
                    torch.randn(tokens, HEADS, SIZE),
                    torch.randn(tokens, KV_HEADS, SIZE),
                    torch.randn(tokens, KV_HEADS, SIZE));
            Tensor dOut = torch.randn(tokens, HEADS, SIZE);
            long begin = CLOCK.getCurrentThreadCpuTime();
            CoreAttention.Output output = core.forward(qkv, layout);
            long between = CLOCK.getCurrentThreadCpuTime();
            core.backward(dOut, qkv, output, layout);
            return new double[] {(between - begin) / 1e9, (CLOCK.getCurrentThreadCpuTime() - between) / 1e9};
        }
    }
}
