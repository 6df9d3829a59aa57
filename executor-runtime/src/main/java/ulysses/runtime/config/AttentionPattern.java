package ulysses.runtime.config;

import com.fasterxml.jackson.annotation.JsonIgnore;

/**
 * Which keys of its own document a query sees: the first ones of the document, and local ones up to itself. Tokens count in blocks: a
 * query sees its own block up to itself, and the {@code localBlocks - 1} blocks before. A sliding window is the pattern whose blocks
 * are one token long; with {@code sinks} it is that of StreamingLLM (arXiv:2309.17453), with longer blocks that of DeepSpeed's fixed
 * sparsity made causal. Places are counted from the start of the document.
 *
 * @param blockTokens tokens of a block
 * @param localBlocks blocks that a query sees, its own included; 0 for all before it, and nothing else counts then
 * @param sinks first tokens of the document that every later query sees
 */
public record AttentionPattern(int blockTokens, int localBlocks, int sinks) {

    /** Every query sees all keys up to itself. */
    public static final AttentionPattern DENSE = new AttentionPattern(1, 0, 0);

    /** Tokens of a dense document from which CUDA ranks take a kernel that prepares itself for each length; chosen, not tuned. */
    public static final int LONG_DOCUMENT = 8192;

    /** Why other devices refuse patterns that are no plain window. */
    public static final String CPU_ONLY =
            "attention_sinks and attention_block_pattern are computed by CPU ranks only; on CUDA use attention_window alone, or dense"
                    + " attention with a larger sequence_parallel_size";

    public AttentionPattern {
        if (blockTokens < 1 || localBlocks < 0 || sinks < 0 || (localBlocks == 0 && sinks > 0)) {
            throw new IllegalArgumentException("no pattern of %d local blocks of %d tokens and %d sinks"
                    .formatted(localBlocks, blockTokens, sinks));
        }
    }

    /** The last {@code tokens} keys, the query itself included; 0 for all. */
    public static AttentionPattern window(int tokens) {
        return new AttentionPattern(1, tokens, 0);
    }

    /** The same with the first {@code tokens} of the document in sight; of a dense one nothing changes. */
    public AttentionPattern withSinks(int tokens) {
        return isDense() ? this : new AttentionPattern(blockTokens, localBlocks, tokens);
    }

    /** Whether every query sees all keys before it, however long the document. */
    @JsonIgnore
    public boolean isDense() {
        return localBlocks == 0;
    }

    /** Whether this is dense or a sliding window alone, which kernels for GPUs know themselves. */
    @JsonIgnore
    public boolean isPlainWindow() {
        return blockTokens == 1 && sinks == 0;
    }

    /** The first key that query {@code query} sees besides sinks. */
    public int firstLocal(int query) {
        return isDense() ? 0 : (int) Math.max(0, (query / blockTokens - localBlocks + 1L) * blockTokens);
    }

    /** Queries from the start of a document that see all keys before them. */
    public long densePrefix() {
        return isDense() ? Long.MAX_VALUE : ((long) localBlocks + sinks / blockTokens) * blockTokens;
    }

    /** Pairs of a query and a key that it sees, in a document of {@code length} tokens. */
    public double pairs(long length) {
        long whole = Math.min(length, isDense() ? length : (long) localBlocks * blockTokens);
        double seen = whole * (whole + 1.0) / 2;
        long blocks = (length - whole) / blockTokens;
        long rest = (length - whole) % blockTokens;
        double before = (localBlocks - 1.0) * blockTokens;
        seen += blocks * (before * blockTokens + blockTokens * (blockTokens + 1.0) / 2);
        seen += rest * before + rest * (rest + 1.0) / 2;
        long growing = Math.min(blocks, sinks / blockTokens);
        seen += (double) blockTokens * blockTokens * (growing * (growing + 1.0) / 2);
        seen += (double) (blocks - growing) * blockTokens * sinks;
        return seen + (double) rest * Math.min(sinks, (blocks + 1) * blockTokens);
    }
}
