package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.data.PackedDataset;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.PackedRows;
import ulysses.runtime.data.RankBatches;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.training.TrainingRank.How;

final class EvaluationPassTest {

    @TempDir
    private Path temporary;

    /** Rows cut down to their prompts count nothing, alone in their step or not. */
    @Test
    void rowsWithoutATrainedTokenDoNotMakeTheLossSmaller() throws IOException {
        List<PackedRow> trained = SmallModels.rows(5, 4, 20);
        List<PackedRow> all = new ArrayList<>(trained);
        for (PackedRow row : SmallModels.rows(6, 4, 20)) {
            int[] labels = new int[row.tokens()];
            Arrays.fill(labels, PackedRow.IGNORE_INDEX);
            all.add(new PackedRow(row.ids(), labels, row.documentLengths()));
        }

        assertThat(loss("all", all, 1)).isCloseTo(loss("trained", trained, 4), within(1e-6));
    }

    private double loss(String name, List<PackedRow> rows, int rowsPerRank) throws IOException {
        String folder = temporary.resolve(name).toString();
        PackedRows.write(folder, rows, name, new Configuration());
        try (PackedDataset dataset = PackedDataset.open(folder, temporary);
                TrainingRank rank = TrainingRank.alone(SmallModels.llama(), How.PLAIN)) {
            RankBatches batches = RankBatches.evaluation(dataset, new RankMesh(1, 1), 0, rowsPerRank);
            Agreement agreement =
                    new Agreement(new SingleRank("one"), rank.parameters().device());
            return new EvaluationPass("eval", rank.sequence(), batches, agreement, () -> {})
                    .run()
                    .loss();
        }
    }
}
