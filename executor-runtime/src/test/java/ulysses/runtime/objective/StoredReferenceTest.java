package ulysses.runtime.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.weights.Folder;

/** Documents are found again in other rows, and only whole files are believed. */
class StoredReferenceTest {
    private static final MicroBatch BATCH = batch(row(3, 4), row(7));

    @TempDir
    private Path directory;

    @Test
    void documentsAreFoundInWhateverRowTheyLie() {
        Folder folder = folder();
        stored(-1.5, -2.5, -3.5).write(folder, "reference.bin");

        StoredReference read = StoredReference.read(folder, "reference.bin").orElseThrow();

        assertThat(read.documentSums(BATCH)).containsExactly(-1.5, -2.5, -3.5);
        MicroBatch other = batch(row(7, 4), row(4, 3));
        assertThat(read.knows(other)).isTrue();
        assertThat(read.documentSums(other)).containsExactly(-3.5, -2.5, -2.5, -1.5);
    }

    @Test
    void anotherLabelIsAnotherDocument() {
        PackedRow row = row(3);
        int[] labels = row.labels().clone();
        labels[2] = PackedRow.IGNORE_INDEX;
        MicroBatch changed = batch(new PackedRow(row.ids(), labels, row.documentLengths()));

        StoredReference stored = stored(-1.5, -2.5, -3.5);

        assertThat(stored.knows(changed)).isFalse();
        assertThatThrownBy(() -> stored.documentSums(changed))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("document 0 of a micro-batch has no stored reference log-probability");
    }

    @Test
    void damagedOrMissingFilesAreComputedAgain() {
        Folder folder = folder();
        stored(-1.5, -2.5, -3.5).write(folder, "reference.bin");
        byte[] whole = folder.read("reference.bin");

        for (int at = 0; at < whole.length; at++) {
            byte[] damaged = whole.clone();
            damaged[at] ^= 1;
            folder.write("damaged.bin", damaged);
            assertThat(StoredReference.read(folder, "damaged.bin"))
                    .as("byte %d", at)
                    .isEmpty();
        }
        folder.write("cut.bin", Arrays.copyOf(whole, whole.length - 1));
        assertThat(StoredReference.read(folder, "cut.bin")).isEmpty();
        assertThat(StoredReference.read(folder, "none.bin")).isEmpty();
    }

    @Test
    void whatAllRanksCollectedComesTogether() {
        StoredReference.Collected one = new StoredReference.Collected();
        one.add(batch(row(3, 4)), new double[] {-1.5, -2.5});
        StoredReference.Collected other = new StoredReference.Collected();
        other.add(batch(row(7)), new double[] {-3.5});

        one.addAll(other.entries());

        assertThat(one.stored().documentSums(BATCH)).containsExactly(-1.5, -2.5, -3.5);
    }

    private static StoredReference stored(double... sums) {
        StoredReference.Collected all = new StoredReference.Collected();
        all.add(BATCH, sums);
        return all.stored();
    }

    private Folder folder() {
        return Folder.at(directory.toString(), new Configuration());
    }

    private static MicroBatch batch(PackedRow... rows) {
        return MicroBatch.of(List.of(rows), 4);
    }

    /** Documents of the given lengths, each of ids that tell it. */
    private static PackedRow row(int... lengths) {
        int total = Arrays.stream(lengths).sum();
        int[] ids = new int[total];
        int at = 0;
        for (int length : lengths) {
            for (int t = 0; t < length; t++) {
                ids[at++] = 10 * length + t;
            }
        }
        return new PackedRow(ids, ids.clone(), lengths);
    }
}
