package ulysses.runtime.attention;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import ulysses.runtime.config.AttentionPattern;

/**
 * Cuts the queries of packed documents into tiles, each with the keys that its queries see: work grows with the pairs of the pattern,
 * not with the square of a document. Queries at the start of a document that see all before them are one tile, whatever its length.
 */
record QueryTiles(AttentionPattern pattern) {

    /** Fewest and most queries of a tile behind that, chosen, not tuned: few drown in calls, many pay for masked keys. */
    private static final int FEWEST = 128;

    private static final int MOST = 512;

    /**
     * One call of a kernel.
     *
     * @param document where its document starts in the stream
     * @param start of the queries in the document
     * @param queries how many
     * @param sinks keys at the start of the document that all of them see
     * @param keyStart first of the other keys in the document; the last one is the last query
     * @param isCausal whether each query sees all of these keys up to itself, of as many keys as queries
     */
    record Tile(int document, int start, int queries, int sinks, int keyStart, boolean isCausal) {

        /** Keys besides sinks. */
        int localKeys() {
            return start + queries - keyStart;
        }

        int keys() {
            return sinks + localKeys();
        }
    }

    /** The tiles of all documents. */
    List<Tile> of(SequenceLayout layout) {
        List<Tile> tiles = new ArrayList<>();
        for (int d = 0; d < layout.documents(); d++) {
            int length = layout.length(d);
            int start = (int) Math.min(length, pattern.densePrefix());
            tiles.add(new Tile(layout.start(d), 0, start, 0, 0, true));
            while (start < length) {
                int queries = Math.min(length - start, tokens(start));
                tiles.add(behindPrefix(layout.start(d), start, queries));
                start += queries;
            }
        }
        return tiles;
    }

    private Tile behindPrefix(int document, int start, int queries) {
        int keyStart = pattern.firstLocal(start);
        boolean causal = pattern.sinks() == 0 && keyStart == start && pattern.firstLocal(start + queries - 1) == start;
        return new Tile(document, start, queries, pattern.sinks(), keyStart, causal);
    }

    /** Whole blocks, or a part of one, so that tiles look alike and share a mask. */
    private int tokens(int start) {
        int block = pattern.blockTokens();
        if (block > MOST) {
            return Math.min(MOST, block - start % block);
        }
        long local = (long) pattern.localBlocks() * block;
        int tokens = (int) Math.max(FEWEST, Math.min(local, MOST));
        return Math.max(block, tokens / block * block);
    }

    /** 0 where a query of {@code tile} sees a key, else -inf: [queries, keys], row by row. */
    float[] mask(Tile tile) {
        int keys = tile.keys();
        float[] cells = new float[Math.multiplyExact(tile.queries(), keys)];
        for (int q = 0; q < tile.queries(); q++) {
            int row = q * keys;
            int query = tile.start() + q;
            int local = row + tile.sinks() - tile.keyStart();
            Arrays.fill(
                    cells,
                    row + tile.sinks(),
                    local + pattern.firstLocal(query),
                    Float.NEGATIVE_INFINITY); // too far back
            Arrays.fill(cells, local + query + 1, row + keys, Float.NEGATIVE_INFINITY); // future
        }
        return cells;
    }

    /** Equal for tiles with the same mask, wherever they lie. */
    record MaskShape(int queries, int sinks, int before, int inBlock) {}

    /** The shape of the mask of {@code tile}. */
    MaskShape maskShape(Tile tile) {
        return new MaskShape(
                tile.queries(), tile.sinks(), tile.start() - tile.keyStart(), tile.start() % pattern.blockTokens());
    }
}
