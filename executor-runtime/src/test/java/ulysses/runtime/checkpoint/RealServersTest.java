package ulysses.runtime.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import ulysses.runtime.checkpoint.Checkpoint.Check;
import ulysses.runtime.data.PackedDataset;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.PackedRows;
import ulysses.runtime.export.HuggingFaceExport;
import ulysses.runtime.servers.FaultyProxy;
import ulysses.runtime.servers.HdfsServer;
import ulysses.runtime.servers.S3Server;
import ulysses.runtime.servers.Storage;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.SafetensorsFile;
import ulysses.runtime.weights.WrittenFile;

/** What a run does with storage, on a real HDFS and a real S3 server, well and ill. */
@Timeout(120)
final class RealServersTest {
    private static final long SEED = 20261126;

    @TempDir
    private Path temporary;

    @ParameterizedTest
    @EnumSource(names = {"HDFS", "S3"})
    void oneOfManyHoldsTheLease(Storage storage) throws Exception {
        LeaseTrials.oneOfManyHoldsIt(storage.folder(temporary));
    }

    @ParameterizedTest
    @EnumSource(names = {"HDFS", "S3"})
    void aDeadHolderOfTheLeaseIsReplacedAndHearsOfIt(Storage storage) throws Exception {
        LeaseTrials.aDeadHolderIsReplacedAndHearsOfIt(storage.folder(temporary));
    }

    @ParameterizedTest
    @EnumSource(names = {"HDFS", "S3"})
    void rowsCheckpointAndExportAreReadBackAsTheyWereWritten(Storage storage) throws IOException {
        Folder root = storage.folder(temporary);
        ModelDirectory model = CheckpointRun.model(root.folder("model"));
        List<PackedRow> rows = List.of(row(5), row(9), row(2));
        PackedRows.write(root.path("train"), rows, "rows", storage.configuration());

        try (PackedDataset dataset =
                PackedDataset.open(root.path("train"), temporary.resolve("scratch"), storage.configuration())) {
            for (int i = 0; i < rows.size(); i++) {
                assertThat(dataset.row(i)).isEqualTo(rows.get(i));
            }
        }
        Checkpoint saved = CheckpointRun.save(root.folder("out"), model, 1, 5, 2);
        HuggingFaceExport.fromCheckpoint(saved, root.folder("export"), 1_000_000);

        try (SafetensorsFile file = SafetensorsFile.open(root.folder("export"), "model.safetensors")) {
            ByteBuffer first = ByteBuffer.allocate(4).order(java.nio.ByteOrder.LITTLE_ENDIAN);
            file.readFloat32("model.embed_tokens.weight", 3, first);
            assertThat(first.getFloat(0)).isEqualTo(CheckpointRun.value(5, 0, 3));
        }
        assertThat(ModelDirectory.open(root.folder("export")).spec().parameters())
                .isEqualTo(model.spec().parameters());
    }

    @Test
    void aCheckpointIsFinishedAcrossARestartOfTheNameNode() throws IOException {
        Folder root = Storage.HDFS.folder(temporary);
        ModelDirectory model = CheckpointRun.model(root.folder("model"));
        CheckpointRun.save(root.folder("out"), model, 1, 10, 1);
        byte[] half = new byte[3 << 20];
        new Random(SEED).nextBytes(half);

        WrittenFile written = root.write("big", out -> {
            out.write(ByteBuffer.wrap(half));
            HdfsServer.shared().awaitBlock(root.path("big"));
            HdfsServer.shared().restartNameNode();
            out.write(ByteBuffer.wrap(half));
        });
        CheckpointRun.save(root.folder("out"), model, 1, 20, 2);

        assertThat(root.length("big")).hasValue(2L * half.length);
        assertThat(root.crc32c("big", () -> {})).isEqualTo(written.crc32c());
        CheckpointStore store = new CheckpointStore(root.folder("out"));
        assertThat(store.completeSteps()).containsExactly(20L, 10L);
        assertThat(store.newest(Check.CHECKSUMS).warnings()).isEmpty();
    }

    /** Requests that are cut, answered with 503, carried out without an answer, or slow: what was committed is whole. */
    @Test
    void badConnectionsLoseNoCheckpoint() throws IOException {
        S3Server server = S3Server.shared();
        try (FaultyProxy proxy = new FaultyProxy(server.port(), SEED, 0.08)) {
            String path = Storage.S3.path(temporary);
            Folder root = Folder.at(path, S3Server.configuration(proxy.port()));
            ModelDirectory model = CheckpointRun.model(root.folder("model"));
            CheckpointStore store = new CheckpointStore(root.folder("out"));
            for (int step = 1; step <= 4; step++) {
                CheckpointRun.save(root.folder("out"), model, 1, step, 2);
                store.retain(2);
            }
            assertThat(proxy.faults()).as("requests that went wrong").isGreaterThan(10);

            CheckpointStore direct =
                    new CheckpointStore(Folder.at(path, server.configuration()).folder("out"));
            assertThat(direct.completeSteps()).containsExactly(4L, 3L);
            assertThat(direct.newest(Check.CHECKSUMS).warnings()).isEmpty();
        }
    }

    @Test
    void aStreamThatFailsPublishesNothingOnS3() {
        Folder root = Storage.S3.folder(temporary);

        assertThatThrownBy(() -> root.write("half", out -> {
                    out.write(ByteBuffer.allocate(1 << 20));
                    throw new IOException("rank died");
                }))
                .hasMessageContaining("rank died");

        assertThat(root.has("half")).isFalse();
    }

    private static PackedRow row(int tokens) {
        int[] ids = new int[tokens];
        for (int i = 0; i < tokens; i++) {
            ids[i] = i % 8;
        }
        return new PackedRow(ids, ids.clone(), new int[] {tokens});
    }
}
