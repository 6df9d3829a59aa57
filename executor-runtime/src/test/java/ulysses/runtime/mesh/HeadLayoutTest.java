package ulysses.runtime.mesh;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class HeadLayoutTest {

    /** Of nine heads over three, rank 0 of two computes five: three read the first kv head, two the second. */
    @ParameterizedTest(name = "{0} heads over {1}, {2} ranks")
    @CsvSource({"9, 3, 2, 2, 5", "9, 3, 3, 1, 1", "8, 2, 2, 1, 1", "14, 2, 4, 2, 4", "7, 1, 3, 1, 1", "6, 6, 4, 2, 2"})
    void attentionReadsACopyForEachQueryHeadWhereGroupsAreUneven(
            int queries, int kvs, int ranks, int sent, int ofAttention) {
        HeadLayout heads = new HeadLayout(queries, kvs, ranks);

        assertThat(heads.mostKvs()).isEqualTo(sent);
        assertThat(heads.mostKvsOfAttention()).isEqualTo(ofAttention);
    }
}
