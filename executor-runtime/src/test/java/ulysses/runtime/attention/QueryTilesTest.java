package ulysses.runtime.attention;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.attention.QueryTiles.Tile;
import ulysses.runtime.config.AttentionPattern;

/** Which keys are read: what a pattern counts is what its queries see, and work follows it. */
final class QueryTilesTest {

    @ParameterizedTest(name = "{1} local blocks of {0}, {2} sinks")
    @CsvSource({
        "1,0,0", "1,1,0", "1,5,0", "1,5,3", "1,5,40", "4,1,0", "4,2,4", "4,3,9", "16,1,32", "7,2,100", "1,64,0",
        "64,1,64"
    })
    void pairsAreWhatQueriesSee(int block, int local, int sinks) {
        AttentionPattern pattern = new AttentionPattern(block, local, sinks);
        for (int length : new int[] {1, 4, 7, 16, 50, 64, 65, 130}) {
            long seen = 0;
            for (int query = 0; query < length; query++) {
                for (int key = 0; key <= query; key++) {
                    seen += key >= pattern.firstLocal(query) || key < sinks ? 1 : 0;
                }
            }

            assertThat(pattern.pairs(length)).as("of %d tokens", length).isEqualTo((double) seen);
        }
    }

    @ParameterizedTest(name = "{1} local blocks of {0}, {2} sinks: at most {3} cells a pair")
    @CsvSource({
        "1,512,0,2.1",
        "1,512,64,2.0",
        "1,4096,4,1.2",
        "1,128,0,2.1",
        "128,4,128,1.9",
        "128,32,512,1.2",
        "1024,4,1024,1.2"
    })
    void cellsComputedGrowWithPairs(int block, int local, int sinks, double cellsPerPair) {
        AttentionPattern pattern = new AttentionPattern(block, local, sinks);
        int length = 65_536;

        double cells = new QueryTiles(pattern)
                .of(new SequenceLayout(new int[] {0, length})).stream()
                        .mapToDouble(QueryTilesTest::cells)
                        .sum();

        assertThat(cells / pattern.pairs(length)).isBetween(1.0, cellsPerPair);
    }

    /** A causal call reads half of its square. */
    private static double cells(Tile tile) {
        return tile.isCausal() ? tile.queries() * (tile.queries() + 1.0) / 2 : (double) tile.queries() * tile.keys();
    }

    @ParameterizedTest(name = "{1} local blocks of {0}, {2} sinks: {3} masks")
    @CsvSource({"1,300,8,2", "64,5,64,2", "1100,2,0,4"})
    void tilesInTheMiddleShareTheirMask(int block, int local, int sinks, int masks) {
        QueryTiles tiles = new QueryTiles(new AttentionPattern(block, local, sinks));
        List<Tile> masked = tiles.of(new SequenceLayout(new int[] {0, 20_000, 37_000})).stream()
                .filter(tile -> !tile.isCausal())
                .toList();

        assertThat(masked).hasSizeGreaterThan(30);
        assertThat(masked.stream().map(tiles::maskShape).distinct().count()).isLessThanOrEqualTo(masks + 1);
    }
}
