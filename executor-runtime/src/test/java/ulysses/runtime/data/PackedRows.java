package ulysses.runtime.data;

import java.io.IOException;
import java.util.List;
import org.apache.hadoop.conf.Configuration;

/** Fixture: prepared rows in a folder, in one shard. */
public final class PackedRows {
    private PackedRows() {}

    /** Writes {@code rows}, made of data whose fingerprint is {@code data}. */
    public static void write(String folder, List<PackedRow> rows, String data, Configuration hadoop)
            throws IOException {
        PackedDatasetWriter writer = PackedDatasetWriter.of(folder, hadoop);
        String shard = PackedDatasetWriter.shardName(0, 1);
        int longest = rows.stream().mapToInt(PackedRow::tokens).max().orElse(1);
        try (PackedShardWriter out = writer.shard(shard)) {
            for (PackedRow row : rows) {
                out.add(row);
            }
            writer.commit(
                    List.of(new PackedDatasetWriter.Shard(shard, out.finish())),
                    new PackedDatasetWriter.Origin(longest, "none", PackedDataset.Content.TEXTS, "", data));
        }
    }
}
