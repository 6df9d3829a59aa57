package ulysses.runtime.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Objects;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** On files that PyTorch wrote (weights/torch, see its README.md) and on hostile ones made here. */
final class TorchPickleFileTest {
    private static final Configuration HADOOP = new Configuration(false);
    private static final String STORAGE = "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" + "0X\3\0\0\0cpuK\10tQ";

    @TempDir
    private Path scratch;

    private static Path resource(String name) {
        try {
            return Path.of(Objects.requireNonNull(TorchPickleFileTest.class.getResource("/weights/torch/" + name))
                    .toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    private static Folder peers() {
        return Folder.at(resource("config.json").resolveSibling("").toString(), HADOOP);
    }

    private Folder folder() {
        return Folder.at(scratch.toString(), HADOOP);
    }

    private void copy(String from, String to) throws IOException {
        Files.copy(resource(from), scratch.resolve(to));
    }

    private static byte[] bytes(WeightFile file, String name) {
        ByteBuffer bytes = ByteBuffer.allocate((int) file.info(name).byteLength());
        file.read(name, 0, bytes);
        return bytes.array();
    }

    @ParameterizedTest
    @ValueSource(strings = {"pytorch_model.bin", "stream.bin"})
    void holdsWhatTheSafetensorsHold(String name) {
        try (WeightFile torch = TorchPickleFile.open(peers(), name);
                WeightFile safe = SafetensorsFile.open(peers(), "model.safetensors")) {
            assertThat(torch.tensors().keySet())
                    .containsExactlyInAnyOrderElementsOf(safe.tensors().keySet());
            for (String tensor : safe.tensors().keySet()) {
                assertThat(torch.info(tensor)).hasToString(safe.info(tensor).toString());
                assertThat(bytes(torch, tensor)).isEqualTo(bytes(safe, tensor));
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "pytorch_model.bin, pytorch_model.bin",
        "stream.bin, pytorch_model.bin",
        "pytorch_model.bin.index.json, pytorch_model.bin.index.json"
    })
    void aModelFolderMayHoldThemInstead(String file, String name) throws IOException {
        copy("config.json", "config.json");
        copy(file, name);
        copy("pytorch_model-00001-of-00002.bin", "pytorch_model-00001-of-00002.bin");
        copy("pytorch_model-00002-of-00002.bin", "pytorch_model-00002-of-00002.bin");

        try (WeightIndex torch = ModelDirectory.open(folder()).weights();
                WeightIndex safe = ModelDirectory.open(peers()).weights()) {
            assertThat(torch.names()).isEqualTo(safe.names()).hasSize(21);
            for (String tensor : safe.names()) {
                int elements = (int) safe.info(tensor).elements();
                ByteBuffer expected = ByteBuffer.allocate(4 * elements);
                ByteBuffer actual = ByteBuffer.allocate(4 * elements);
                safe.readFloat32(tensor, 0, expected);
                torch.readFloat32(tensor, 0, actual);
                assertThat(actual.array()).isEqualTo(expected.array());
            }
        }
    }

    @Test
    void anAdapterMayBePickled() throws IOException {
        ModelSpec model = ModelDirectory.open(peers()).spec();
        copy("adapter/adapter_config.json", "adapter_config.json");
        copy("adapter/adapter_model.bin", "adapter_model.bin");

        try (WeightFile torch = AdapterDirectory.open(folder()).weights(model);
                WeightFile safe =
                        AdapterDirectory.open(peers().folder("adapter")).weights(model)) {
            assertThat(torch.path()).endsWith("adapter_model.bin");
            assertThat(safe.path()).endsWith("adapter_model.safetensors");
            assertThat(torch.tensors().keySet())
                    .hasSize(8)
                    .containsExactlyInAnyOrderElementsOf(safe.tensors().keySet());
            for (String tensor : safe.tensors().keySet()) {
                assertThat(bytes(torch, tensor)).isEqualTo(bytes(safe, tensor));
            }
        }
    }

    private static float[] floats(WeightFile file, String name) {
        ByteBuffer bytes =
                ByteBuffer.allocate((int) file.info(name).elements() * 4).order(ByteOrder.LITTLE_ENDIAN);
        file.readFloat32(name, 0, bytes);
        float[] values = new float[bytes.capacity() / 4];
        bytes.flip().asFloatBuffer().get(values);
        return values;
    }

    @Test
    void viewsAreReadRowByRowWhateverTheirStrides() {
        try (WeightFile file = TorchPickleFile.open(peers(), "views.bin")) {
            assertThat(floats(file, "transposed"))
                    .containsExactly(
                            0, 6, 12, 18, 1, 7, 13, 19, 2, 8, 14, 20, 3, 9, 15, 21, 4, 10, 16, 22, 5, 11, 17, 23);
            assertThat(file.info("transposed").shape()).containsExactly(6, 4);
            assertThat(floats(file, "column")).containsExactly(2, 8, 14, 20);
            assertThat(floats(file, "every_other")).containsExactly(6, 8, 10, 12, 14, 16, 18, 20, 22);
            assertThat(floats(file, "repeated")).containsExactly(0, 0, 0, 0, 0, 0);
            assertThat(floats(file, "parameter")).containsExactly(18, 19, 20, 21, 22, 23);
            assertThat(floats(file, "scalar")).containsExactly(2.5f);
            assertThat(file.info("scalar").shape()).isEmpty();
            assertThat(floats(file, "none")).isEmpty();
            assertThat(floats(file, "half")).containsExactly(1.5f, -2);
            assertThat(bytes(file, "double")).hasSize(8);
            assertThat(bytes(file, "long")).containsExactly(1, 0, 0, 0, 0, 0, 0, 0, -2, -1, -1, -1, -1, -1, -1, -1);
            assertThat(bytes(file, "bool")).containsExactly(1, 0);
            assertThat(bytes(file, "byte")).containsExactly(200);
            ByteBuffer part = ByteBuffer.allocate(8);
            file.read("transposed", 4, part);
            assertThat(part.order(ByteOrder.LITTLE_ENDIAN).getFloat(4)).isEqualTo(12);
        }
    }

    @Test
    void nothingOfAHostileFileRuns() throws IOException {
        copy("config.json", "config.json");
        copy("hostile.bin", "pytorch_model.bin");

        assertThatThrownBy(() -> ModelDirectory.open(folder()).weights())
                .isInstanceOf(WeightsException.class)
                .hasMessageEndingWith(
                        "pytorch_model.bin is refused: it asks Python for posix.system, which weights do not need; nothing in the file was run. If you trust where it comes from, load it there and save it as safetensors (save_pretrained); if not, delete it");
        assertThat(Path.of("ulysses-pickle-ran")).doesNotExist();
        assertThat(scratch.resolve("ulysses-pickle-ran")).doesNotExist();
    }

    /** A pickle as the archive of torch.save holds it, beside a storage of 8 float32. */
    private byte[] archive(byte[] pickle) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
            put(zip, "x/data.pkl", pickle);
            put(zip, "x/data/0", new byte[32]);
        }
        return bytes.toByteArray();
    }

    private static void put(ZipOutputStream zip, String name, byte[] content) throws IOException {
        ZipEntry entry = new ZipEntry(name);
        CRC32 crc = new CRC32();
        crc.update(content);
        entry.setMethod(ZipEntry.STORED);
        entry.setSize(content.length);
        entry.setCrc(crc.getValue());
        zip.putNextEntry(entry);
        zip.write(content);
    }

    private static byte[] latin(String text) {
        return text.getBytes(StandardCharsets.ISO_8859_1);
    }

    private WeightFile opened(byte[] pickle) throws IOException {
        Files.write(scratch.resolve("a.bin"), archive(pickle));
        return TorchPickleFile.open(folder(), "a.bin");
    }

    private static byte[] tensor(String numbers) {
        return latin("\u0080\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + numbers
                + "\u0089ccollections\nOrderedDict\n)RtRs.");
    }

    @Test
    void aTensorMadeHereIsReadSoThatTheNextTestsFailForTheirReason() throws IOException {
        try (WeightFile file = opened(tensor("K\2K\2K\3\u0086K\3K\1\u0086"))) {
            assertThat(file.info("w")).hasToString("w F32[2, 3]");
            assertThat(bytes(file, "w")).hasSize(24);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "offset too large | K\\3K\\2K\\3\\u0086K\\3K\\1\\u0086",
                "offset negative | J\\377\\377\\377\\377K\\1\\u0085K\\1\\u0085",
                "shape too large | K\\0K\\11\\u0085K\\1\\u0085",
                "shape negative | K\\0J\\377\\377\\377\\377\\u0085K\\1\\u0085",
                "stride too large | K\\0K\\3\\u0085K\\4\\u0085",
                "stride negative | K\\7K\\3\\u0085J\\377\\377\\377\\377\\u0085",
                "axes and strides differ | K\\0K\\3\\u0085K\\1K\\1\\u0086",
                "elements overflow | K\\0\\u008a\\7\\0\\0\\0\\0\\0\\0\\100\\u008a\\7\\0\\0\\0\\0\\0\\0\\100\\u0086K\\0K\\0\\u0086",
                "position overflows | \\u008a\\10\\377\\377\\377\\377\\377\\377\\377\\177K\\2\\u0085K\\1\\u0085",
                "stride overflows | K\\0K\\4\\u0085\\u008a\\10\\377\\377\\377\\377\\377\\377\\377\\177\\u0085"
            })
    void refusesViewsOutsideOfTheirStorage(String title, String numbers) {
        assertThatThrownBy(() -> opened(tensor(unescaped(numbers))))
                .as(title)
                .isInstanceOf(WeightsException.class)
                .hasMessageContaining("a.bin is damaged, cut off or no file of torch.save: tensor w, shape [")
                .hasMessageContaining("does not lie within the 8 elements of its storage; copy or download it again");
    }

    /** {@code \\NNN} octal and backslash-u with four hex digits, as Java writes them. */
    private static String unescaped(String text) {
        StringBuilder result = new StringBuilder();
        for (int i = 0; i < text.length(); i++) {
            if (text.charAt(i) != '\\') {
                result.append(text.charAt(i));
            } else if (text.charAt(i + 1) == 'u') {
                result.append((char) Integer.parseInt(text.substring(i + 2, i + 6), 16));
                i += 5;
            } else {
                int end = i + 1;
                while (end < text.length() && end < i + 4 && Character.isDigit(text.charAt(end))) {
                    end++;
                }
                result.append((char) Integer.parseInt(text.substring(i + 1, end), 8));
                i = end - 1;
            }
        }
        return result.toString();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "cbuiltins\\012eval\\012(X\\1\\0\\0\\0001tR.|it asks Python for builtins.eval, which",
                "ctorch\\012load\\012)R.|it asks Python for torch.load, which",
                "ctorch._utils\\012_rebuild_tensor_v3\\012.|it asks Python for torch._utils._rebuild_tensor_v3, which",
                "cos.path\\012system\\012.|it asks Python for os.path.system, which",
                "X\\2\\0\\0\\000osX\\6\\0\\0\\000system\\u0093.|it has the instruction 0x93, which torch.save does not write",
                "(ios\\012system\\012.|it has the instruction 0x69",
                "\\u0082\\1.|it has the instruction 0x82",
                "ccollections\\012OrderedDict\\012)\\u0081.|it has the instruction 0x81",
                "\\u0080\\4.|it is a pickle of protocol 4; torch.save writes 2",
                "].|it holds no dict of tensors",
                "}X\\1\\0\\0\\000a}s.|its entry a is no tensor (a training checkpoint",
                "}K\\1K\\1s.|its entry 1 is no tensor",
                "}})s.|a dict has a key that is neither a text nor a whole number",
                "}(}K\\1tK\\1s.|a dict has a key that is neither",
                "ccollections\\012OrderedDict\\012(]tR.|it makes a collections.OrderedDict of something",
                "ctorch\\012FloatStorage\\012)R.|it makes a torch.FloatStorage by itself",
                "]}b.|it sets attributes of something",
                "K\\1Q.|it refers to something outside of itself",
                ".|it takes a value where there is none",
                "(.|it takes a value where there is none",
                "t.|it ends a list that was not begun",
                "}(K\\1s.|it takes a value where there is none",
                "h\\5.|it remembers value 5, which was never kept",
                "}X\\377\\377\\377\\177a|it ends within a value of 2147483647 bytes",
                "}X\\377\\377\\377\\377a|it ends within a value of 4294967295 bytes",
                "}|it ends within a value",
                "K\\1K\\1R.|it calls something that is no function",
                "K\\1K\\2a.|it appends to something that is no list",
                "K\\1K\\2K\\3s.|it puts entries into something that is no dict",
                "}(K\\1u.|it puts entries into something that is no dict",
                "ctorch._utils\\012_rebuild_tensor_v2\\012)R.|a tensor is not described by a storage",
                "ctorch._utils\\012_rebuild_parameter\\012)R.|a parameter is made of something that is no tensor"
            })
    void refusesEverythingElseByName(String pickle, String message) {
        assertThatThrownBy(() -> opened(latin("\u0080\2" + unescaped(pickle))))
                .isInstanceOf(WeightsException.class)
                .hasMessageContaining(message);
    }

    @Test
    @Timeout(20)
    void depthAndRepetitionCostNoMoreThanTheirBytes() throws IOException {
        StringBuilder deep = new StringBuilder("\u0080\2");
        deep.append("]".repeat(1_000_000)).append("a".repeat(999_999)).append('.');
        StringBuilder wide = new StringBuilder("\u0080\2]q\0");
        wide.append(
                "](h\0h\0eq\0".repeat(200)); // each holds the one before twice: 2^200 lists, if one walked through them
        wide.append("}X\1\0\0\0ah\0s.");

        assertThatThrownBy(() -> opened(latin(deep.toString()))).hasMessageContaining("it holds no dict of tensors");
        assertThatThrownBy(() -> opened(latin(wide.toString()))).hasMessageContaining("its entry a is no tensor");
        assertThatThrownBy(() -> opened(latin("\u0080\2" + "(".repeat(1_000_000) + ".")))
                .hasMessageContaining("it takes a value where there is none");
        assertThatThrownBy(() -> opened(new byte[(32 << 20) + 1]))
                .hasMessageContaining("the list of its tensors has 33554433 bytes, more than 33554432");
    }

    @Test
    void aCutFileIsRefusedWhereverItIsCut() throws IOException {
        for (String name : new String[] {"views.bin", "stream.bin"}) {
            byte[] whole = Files.readAllBytes(resource(name));
            for (int length = 0; length < whole.length; length += 1 + length / 40) {
                Files.write(scratch.resolve("cut.bin"), Arrays.copyOf(whole, length));
                assertThatThrownBy(
                                () -> TorchPickleFile.open(folder(), "cut.bin").close())
                        .as("%s cut to %d bytes", name, length)
                        .isInstanceOf(WeightsException.class)
                        .hasMessageContaining("cut.bin is damaged, cut off or no file of torch.save: ");
            }
        }
    }

    @Test
    void damagedBytesEndInAMessageOrInOtherWeights() throws IOException {
        for (String name : new String[] {"views.bin", "stream.bin"}) {
            byte[] whole = Files.readAllBytes(resource(name));
            for (int at = 0; at < whole.length; at += 5) {
                byte[] bytes = whole.clone();
                bytes[at] ^= (byte) (1 + at % 255);
                Files.write(scratch.resolve("bad.bin"), bytes);
                try (WeightFile file = TorchPickleFile.open(folder(), "bad.bin")) {
                    file.tensors().keySet().forEach(tensor -> bytes(file, tensor));
                } catch (WeightsException expected) {
                    assertThat(expected.getMessage()).contains("bad.bin");
                }
            }
        }
    }

    @Test
    void sizesBeyondFourGigabytesAreRead() throws IOException {
        byte[] whole = Files.readAllBytes(resource("views.bin"));
        Files.write(scratch.resolve("wide.bin"), widened(whole));

        try (WeightFile wide = TorchPickleFile.open(folder(), "wide.bin");
                WeightFile narrow = TorchPickleFile.open(peers(), "views.bin")) {
            assertThat(bytes(wide, "whole")).isEqualTo(bytes(narrow, "whole"));
        }
    }

    /** The archive with all sizes and positions of its directory in 64 bits, as a file of more than 4 GiB has them. */
    private static byte[] widened(byte[] archive) {
        ByteBuffer in = ByteBuffer.wrap(archive).order(ByteOrder.LITTLE_ENDIAN);
        int end = archive.length - 22;
        int start = in.getInt(end + 16);
        ByteBuffer out = ByteBuffer.allocate(2 * archive.length).order(ByteOrder.LITTLE_ENDIAN);
        out.put(archive, 0, start);
        for (int at = start; in.getInt(at) == 0x02014b50; at += 46 + in.getShort(at + 28) + in.getShort(at + 30)) {
            int entry = out.position();
            out.put(archive, at, 46 + in.getShort(at + 28));
            out.putShort(entry + 30, (short) 28);
            out.putInt(entry + 20, -1).putInt(entry + 24, -1).putInt(entry + 42, -1);
            out.putShort((short) 1).putShort((short) 24);
            out.putLong(in.getInt(at + 24)).putLong(in.getInt(at + 20)).putLong(in.getInt(at + 42));
        }
        int wideEnd = out.position();
        out.putInt(0x06064b50).putLong(44).putInt(0).putLong(0).putLong(0).putLong(0);
        out.putLong(wideEnd - start).putLong(start);
        out.putInt(0x07064b50).putInt(0).putLong(wideEnd).putInt(1);
        int narrowEnd = out.position();
        out.put(archive, end, 22).putInt(narrowEnd + 12, -1).putInt(narrowEnd + 16, -1);
        return Arrays.copyOf(out.array(), out.position());
    }

    @Test
    void saysWhatOtherFilesAre() throws IOException {
        ByteArrayOutputStream script = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(script)) {
            put(zip, "x/data.pkl", latin("\u0080\2}."));
            put(zip, "x/constants.pkl", new byte[0]);
        }
        ByteArrayOutputStream compressed = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(compressed)) {
            zip.putNextEntry(new ZipEntry("x/data.pkl"));
            zip.write(latin("\u0080\2}."));
        }
        ByteArrayOutputStream big = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(big)) {
            put(zip, "x/data.pkl", latin("\u0080\2}."));
            put(zip, "x/byteorder", latin("big"));
        }
        ByteArrayOutputStream other = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(other)) {
            put(zip, "word/document.xml", new byte[0]);
        }

        assertRefused(script.toByteArray(), "is a TorchScript program, not weights");
        assertRefused(compressed.toByteArray(), "is compressed (x/data.pkl), which torch.save never does");
        assertRefused(big.toByteArray(), "was written on a big-endian machine");
        assertRefused(other.toByteArray(), "it is a zip archive with 0 files data.pkl instead of one");
        assertRefused(latin("version https://git-lfs"), "is a Git LFS pointer, not the weights");
        assertRefused(latin("<!DOCTYPE html>"), "it starts as neither of the two forms does");
    }

    private void assertRefused(byte[] bytes, String message) throws IOException {
        Files.write(scratch.resolve("b.bin"), bytes);
        assertThatThrownBy(() -> TorchPickleFile.open(folder(), "b.bin"))
                .isInstanceOf(WeightsException.class)
                .hasMessageContaining(message);
    }
}
