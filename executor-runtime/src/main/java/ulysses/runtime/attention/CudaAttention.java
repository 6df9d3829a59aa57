package ulysses.runtime.attention;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.memory.TensorScope;

/**
 * Attention on CUDA. In float32 the memory-efficient kernel. In bfloat16 FlashAttention-2, but for long documents without a window
 * cuDNN's kernel, where it runs. The choice depends on dtype and documents alone, so backward finds the kernel of its forward.
 */
final class CudaAttention implements CoreAttention {

    /** Of q in one call in bfloat16: backward's float32 sums then take 1 GiB; 65,536 tokens of 32 heads of 128. */
    private static final long ELEMENTS_AT_ONCE = 256L << 20;

    private final CoreAttention flash;
    private final CoreAttention efficient;
    private final CoreAttention cudnn = new HeadsInTurn(new CudnnAttention(), ELEMENTS_AT_ONCE);
    private final boolean dense;

    /** Dense or a sliding window; anything else is refused. */
    CudaAttention(AttentionPattern pattern) {
        if (!pattern.isPlainWindow()) {
            throw new IllegalArgumentException(AttentionPattern.CPU_ONLY);
        }
        int window = pattern.localBlocks();
        this.dense = window == 0;
        this.flash = new HeadsInTurn(new CudaFlashAttention(window), ELEMENTS_AT_ONCE);
        this.efficient = new CudaEfficientAttention(window);
    }

    /** Documents behind each other that one kernel takes; {@code first} token of them in the stream. */
    private record Span(int first, SequenceLayout documents, CoreAttention kernel) {

        Qkv of(Qkv qkv) {
            return new Qkv(tokens(qkv.q()), tokens(qkv.k()), tokens(qkv.v()));
        }

        Output of(Output output) {
            return new Output(
                    tokens(output.out()),
                    output.logsumexp().narrow(1, first, documents.length()).contiguous());
        }

        Tensor tokens(Tensor stream) {
            return stream.narrow(0, first, documents.length());
        }
    }

    @Override
    public Output forward(Qkv qkv, SequenceLayout layout) {
        List<Span> spans = spans(qkv.q(), layout);
        if (spans.size() == 1) {
            return spans.get(0).kernel().forward(qkv, layout);
        }
        try (TensorScope scope = TensorScope.open()) {
            List<Output> parts = spans.stream()
                    .map(span -> span.kernel().forward(span.of(qkv), span.documents()))
                    .toList();
            return new Output(
                    scope.keep(joined(parts.stream().map(Output::out).toList(), 0)),
                    scope.keep(joined(parts.stream().map(Output::logsumexp).toList(), 1)));
        }
    }

    @Override
    public Qkv backward(Tensor dOut, Qkv qkv, Output output, SequenceLayout layout) {
        List<Span> spans = spans(qkv.q(), layout);
        if (spans.size() == 1) {
            return spans.get(0).kernel().backward(dOut, qkv, output, layout);
        }
        try (TensorScope scope = TensorScope.open()) {
            List<Qkv> parts = spans.stream()
                    .map(span ->
                            span.kernel().backward(span.tokens(dOut), span.of(qkv), span.of(output), span.documents()))
                    .toList();
            return new Qkv(
                            joined(parts.stream().map(Qkv::q).toList(), 0),
                            joined(parts.stream().map(Qkv::k).toList(), 0),
                            joined(parts.stream().map(Qkv::v).toList(), 0))
                    .kept(scope);
        }
    }

    private List<Span> spans(Tensor q, SequenceLayout layout) {
        if (q.scalar_type().value == torch.ScalarType.Float.value) { // native code makes enum objects of its own
            return List.of(new Span(0, layout, efficient));
        }
        if (!dense || layout.longest() < AttentionPattern.LONG_DOCUMENT || !CudnnAttention.runsHere()) {
            return List.of(new Span(0, layout, flash));
        }
        List<Span> spans = new ArrayList<>();
        int begin = 0; // of the short documents that no span has yet
        for (int document = 0; document < layout.documents(); document++) {
            if (layout.length(document) >= AttentionPattern.LONG_DOCUMENT) {
                addShort(spans, layout, begin, document);
                spans.add(new Span(layout.start(document), layout.part(document, document + 1), cudnn));
                begin = document + 1;
            }
        }
        addShort(spans, layout, begin, layout.documents());
        return spans;
    }

    private void addShort(List<Span> spans, SequenceLayout layout, int begin, int end) {
        if (begin < end) {
            spans.add(new Span(layout.start(begin), layout.part(begin, end), flash));
        }
    }

    private static Tensor joined(List<Tensor> parts, long axis) {
        return torch.cat(new TensorVector(parts.toArray(Tensor[]::new)), axis);
    }
}
