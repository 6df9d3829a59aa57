package ulysses.runtime.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import java.util.zip.CRC32C;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import ulysses.runtime.servers.Storage;

final class FolderTest {
    @TempDir
    private Path temporary;

    /** All ways to a folder: as the program opens local disk, local disk through Hadoop, and real servers. */
    enum Way {
        LOCAL,
        HADOOP,
        HDFS,
        S3
    }

    private Folder folder(Way way) throws IOException {
        if (way == Way.LOCAL) {
            return Folder.at(temporary.resolve("here").toUri().toString(), new Configuration(false));
        }
        if (way != Way.HADOOP) {
            Storage storage = Storage.valueOf(way.name());
            return Folder.at(storage.path(temporary) + "/here", storage.configuration());
        }
        RawLocalFileSystem fileSystem = new RawLocalFileSystem();
        fileSystem.initialize(URI.create("file:///"), new Configuration(false));
        return new HadoopFolder(
                fileSystem,
                new org.apache.hadoop.fs.Path(temporary.resolve("here").toUri()));
    }

    @ParameterizedTest
    @EnumSource
    void aFileIsReadBackAsItWasWritten(Way way) throws IOException {
        Folder folder = folder(way);
        byte[] bytes = new byte[3_000_001]; // more than two blocks
        new Random(1).nextBytes(bytes);

        WrittenFile written = folder.write("sub/a.bin", bytes);

        CRC32C checksum = new CRC32C();
        checksum.update(bytes);
        assertThat(written).isEqualTo(new WrittenFile("sub/a.bin", bytes.length, checksum.getValue()));
        assertThat(folder.read("sub/a.bin")).isEqualTo(bytes);
        assertThat(folder.crc32c("sub/a.bin", () -> {})).isEqualTo(checksum.getValue());
        assertThat(folder.length("sub/a.bin")).hasValue(bytes.length);
        assertThat(folder.folder("sub").list()).containsExactly(new Folder.Entry("a.bin", false, bytes.length));
    }

    @ParameterizedTest
    @EnumSource
    void readsAnyRange(Way way) throws IOException {
        Folder folder = folder(way);
        folder.write("a", "0123456789".getBytes(StandardCharsets.US_ASCII));
        ByteBuffer into = ByteBuffer.allocateDirect(4);

        try (RangedFile file = folder.open("a")) {
            file.read(5, into);
            assertThat(StandardCharsets.US_ASCII.decode(into.flip()).toString()).isEqualTo("5678");
            assertThatThrownBy(() -> file.read(8, into.clear()))
                    .isInstanceOf(StorageException.class)
                    .hasMessageContaining("can't read");
        }
    }

    @Test
    void whatCantBeLookedAtIsNotSaidToBeMissing() throws IOException {
        Folder folder = folder(Way.LOCAL);
        folder.write("a", new byte[] {1});
        Files.createSymbolicLink(temporary.resolve("here/loop"), Path.of("loop"));

        assertThat(folder.length("absent")).isEmpty();
        assertThat(folder.length("a/below a file")).isEmpty();
        assertThatThrownBy(() -> folder.length("loop"))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("can't look at")
                .hasMessageContaining("here/loop");
    }

    @ParameterizedTest
    @EnumSource
    void aFailedWriteLeavesNoFile(Way way) throws IOException {
        Folder folder = folder(way);

        assertThatThrownBy(() -> folder.write("a", out -> {
                    out.write(ByteBuffer.allocate(2_000_000));
                    throw new IOException("disk on fire");
                }))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("can't write")
                .hasMessageContaining("disk on fire");

        assertThat(folder.list()).isEmpty();
    }

    @ParameterizedTest
    @EnumSource
    void onlyOneWriterCreates(Way way) throws IOException {
        Folder folder = folder(way);

        assertThat(folder.createIfAbsent("new/m.json", new byte[] {1})).isTrue();
        assertThat(folder.createIfAbsent("new/m.json", new byte[] {2})).isFalse();

        assertThat(folder.read("new/m.json")).containsExactly(1);
    }

    @ParameterizedTest
    @EnumSource
    void appendsToTheEnd(Way way) throws IOException {
        Folder folder = folder(way);

        folder.append("log", "one\n".getBytes(StandardCharsets.UTF_8));
        folder.append("log", "two\n".getBytes(StandardCharsets.UTF_8));

        assertThat(folder.readText("log")).isEqualTo("one\ntwo\n");
    }

    @ParameterizedTest
    @EnumSource
    void deletesFilesAndWholeFolders(Way way) throws IOException {
        Folder folder = folder(way);
        folder.write("a/b/c", new byte[3]);
        folder.write("a/d", new byte[3]);

        folder.delete("a/d");
        folder.delete("not-there");

        assertThat(folder.has("a/d")).isFalse();
        assertThat(folder.has("a/b/c")).isTrue();
        folder.delete("a");
        assertThat(folder.list()).isEmpty();
        assertThat(folder.exists()).isTrue();
        assertThat(folder.folder("a").exists()).isFalse();
        assertThat(folder.folder("a").list()).isEmpty();
    }

    @ParameterizedTest
    @EnumSource
    void saysWhichFileIsMissing(Way way) throws IOException {
        Folder folder = folder(way);

        assertThatThrownBy(() -> folder.readText("gone.json"))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("can't open")
                .hasMessageContaining("gone.json");
        assertThat(folder.length("gone.json")).isEmpty();
    }

    @ParameterizedTest
    @EnumSource
    void writesNothingBesideTheFile(Way way) throws IOException {
        Folder folder = folder(way);

        folder.write("a", new byte[1]);
        folder.createIfAbsent("b", new byte[1]);

        assertThat(folder.list()).extracting(Folder.Entry::name).containsExactly("a", "b");
    }

    @ParameterizedTest
    @EnumSource
    void refusesAPathWithoutFileSystem(Way way) throws IOException {
        assertThat(folder(way).path()).endsWith("here");

        assertThatThrownBy(() -> Folder.at("nosuch://bucket/x", new Configuration(false)))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("no file system for nosuch://bucket/x");
    }
}
