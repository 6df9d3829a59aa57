package ulysses.runtime.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class SafetensorsFileTest {
    @TempDir
    private Path temporary;

    private Folder folder;

    @BeforeEach
    void open() {
        folder = Folder.at(temporary.toUri().toString(), new Configuration(false));
    }

    /** Element i is i + 0.5. */
    private static TensorData floats(String name, long... shape) {
        ByteBuffer bytes = ByteBuffer.allocate((int) Shapes.elements(shape) * 4).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; bytes.hasRemaining(); i++) {
            bytes.putFloat(i + 0.5f);
        }
        return TensorData.of(name, DataType.F32, shape, bytes.flip());
    }

    private static TensorData halves(String name, DataType type, int... bits) {
        ByteBuffer bytes = ByteBuffer.allocate(bits.length * 2).order(ByteOrder.LITTLE_ENDIAN);
        Arrays.stream(bits).forEach(b -> bytes.putShort((short) b));
        return TensorData.of(name, type, new long[] {bits.length}, bytes.flip());
    }

    @Test
    void readsBackWhatItWrote() {
        SafetensorsFile.write(folder, "a", List.of(floats("w", 3, 4), floats("b"), floats("none", 0, 7)));
        ByteBuffer into = ByteBuffer.allocateDirect(8).order(ByteOrder.LITTLE_ENDIAN);

        try (SafetensorsFile file = SafetensorsFile.open(folder, "a")) {
            file.read("w", 5 * 4, into);

            assertThat(into.getFloat(0)).isEqualTo(5.5f);
            assertThat(into.getFloat(4)).isEqualTo(6.5f);
            assertThat(file.names()).containsExactly("b", "none", "w");
            assertThat(file.info("w").shape()).containsExactly(3, 4);
            assertThat(file.info("b").elements()).isEqualTo(1);
            assertThat(file.info("none").byteLength()).isZero();
        }
    }

    @Test
    void theSameTensorsGiveTheSameBytesInAnyOrder() {
        List<TensorData> tensors =
                new ArrayList<>(List.of(floats("w", 3, 4), halves("h", DataType.BF16, 1, 2, 3), floats("a", 5)));

        WrittenFile first = SafetensorsFile.write(folder, "a", tensors);
        Collections.reverse(tensors);
        WrittenFile second = SafetensorsFile.write(folder, "b", tensors);

        assertThat(second.crc32c()).isEqualTo(first.crc32c());
        assertThat(first.length()).isEqualTo(SafetensorsFile.byteLength(tensors));
        String header = new String(folder.read("a"), StandardCharsets.ISO_8859_1).substring(8);
        assertThat(header)
                .startsWith(
                        "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,20]}");
        assertThat(ByteBuffer.wrap(folder.read("a"))
                                .order(ByteOrder.LITTLE_ENDIAN)
                                .getLong()
                        % 8)
                .isZero();
    }

    @Test
    void widensNarrowFloatsExactly() {
        SafetensorsFile.write(
                folder,
                "a",
                List.of(
                        halves("bf16", DataType.BF16, 0x3f80, 0xc049, 0x7f80, 0x0001),
                        halves("f16", DataType.F16, 0x3c00, 0xc248, 0x7c00, 0x0001, 0x83ff, 0xfbff)));
        ByteBuffer into = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
        ByteBuffer tail = ByteBuffer.allocate(20).order(ByteOrder.LITTLE_ENDIAN);

        try (SafetensorsFile file = SafetensorsFile.open(folder, "a")) {
            file.readFloat32("bf16", 0, into);
            file.readFloat32("f16", 1, tail);
        }

        assertThat(floatsOf(into))
                .containsExactly(1f, -3.140625f, Float.POSITIVE_INFINITY, Float.intBitsToFloat(1 << 16));
        assertThat(floatsOf(tail))
                .containsExactly(-3.140625f, Float.POSITIVE_INFINITY, 0x1p-24f, -1023 * 0x1p-24f, -65504f);
    }

    private static List<Float> floatsOf(ByteBuffer bytes) {
        List<Float> floats = new ArrayList<>();
        for (bytes.flip(); bytes.hasRemaining(); ) {
            floats.add(bytes.getFloat());
        }
        return floats;
    }

    @ParameterizedTest
    @CsvSource({"1.0,3f80", "1.00390625,3f80", "1.01171875,3f82", "-1.0039064,bf81", "3.4028235e38,7f80", "1e-45,0"})
    void roundsToTheNearestBfloat16TiesToEven(float value, String bits) {
        assertThat(Integer.toHexString(FloatFormat.toBfloat16(value) & 0xffff)).isEqualTo(bits);
    }

    @Test
    void bfloat16OfNotANumberStaysSo() {
        assertThat(FloatFormat.toBfloat16(Float.intBitsToFloat(0x7f800001))).isEqualTo((short) 0x7fc0);
    }

    @Test
    void refusesATensorThatWritesTheWrongNumberOfBytes() {
        TensorData liar = new TensorData("w", DataType.F32, new long[] {4}, out -> out.write(ByteBuffer.allocate(15)));

        assertThatThrownBy(() -> SafetensorsFile.write(folder, "a", List.of(liar)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("tensor w wrote 15 bytes instead of 16");
        assertThat(folder.has("a")).isFalse();
    }

    @Test
    void refusesTwoTensorsOfOneName() {
        assertThatThrownBy(() -> SafetensorsFile.write(folder, "a", List.of(floats("w", 1), floats("w", 1))))
                .hasMessage("two tensors are called w");
    }

    @Test
    void saysWhichTensorIsMissing() {
        SafetensorsFile.write(folder, "a", List.of(floats("w", 2)));

        try (SafetensorsFile file = SafetensorsFile.open(folder, "a")) {
            assertThatThrownBy(() -> file.info("x"))
                    .isInstanceOf(WeightsException.class)
                    .hasMessageContaining("holds no tensor x");
            assertThatThrownBy(() -> file.read("w", 4, ByteBuffer.allocate(8)))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("bytes 4..12 of w F32[2], which has 8");
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}} | 4 | needs 8 bytes but its data_offsets [0, 4] span 4",
                "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}} | 7 | ends at 8 but only 7 bytes of tensors are there",
                "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}} | 9 | 1 bytes follow the last tensor",
                "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}} | 12 | starts at 4 but the one before ends at 0",
                "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}} | 6 | starts at 2 but the one before ends at 4",
                "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}} | 8 | Duplicate",
                "{\"w\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}} | 1 | has dtype F8_E4M3; only",
                "{\"w\":{\"shape\":[1],\"data_offsets\":[0,4]}} | 4 | has dtype missing",
                "{\"w\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}} | 4 | has the entry -1 in shape",
                "{\"w\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}} | 4 | has the entry 1.5 in shape",
                "{\"w\":{\"dtype\":\"F32\",\"shape\":7,\"data_offsets\":[0,4]}} | 4 | has no array shape",
                "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}} | 4 | not [begin, end]",
                "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}} | 4 | not [begin, end]",
                "{\"w\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}} | 4 | has the impossible shape",
                "{\"w\":{\"dtype\":\"F32\" | 4 | its header is not valid JSON",
                "[1,2] | 4 | its header is no JSON object",
                "{} {} | 0 | its header is not valid JSON",
                "{} | 5 | 5 bytes follow the last tensor",
            })
    void refusesADamagedHeader(String header, int dataLength, String message) {
        byte[] json = header.getBytes(StandardCharsets.UTF_8);
        ByteBuffer bytes = ByteBuffer.allocate(8 + json.length + dataLength).order(ByteOrder.LITTLE_ENDIAN);
        folder.write("bad", bytes.putLong(json.length).put(json).array());

        assertThatThrownBy(() -> SafetensorsFile.open(folder, "bad"))
                .isInstanceOf(WeightsException.class)
                .hasMessageContaining("bad")
                .hasMessageContaining(message);
    }

    @Test
    void refusesAFileCutAtEveryLength() {
        SafetensorsFile.write(folder, "a", List.of(floats("w", 3, 4), halves("h", DataType.BF16, 1, 2, 3)));
        byte[] whole = folder.read("a");

        for (int length = 0; length < whole.length; length++) {
            folder.write("cut", Arrays.copyOf(whole, length));
            assertThatThrownBy(() -> SafetensorsFile.open(folder, "cut"))
                    .as("cut to %d bytes", length)
                    .isInstanceOf(WeightsException.class)
                    .hasMessageContaining("is damaged, cut off or no safetensors file")
                    .hasMessageContaining("copy or download it again");
        }
    }

    @Test
    void anyDamagedHeaderByteIsRefusedOrReadsWithinTheFile() {
        SafetensorsFile.write(folder, "a", List.of(floats("w", 3, 4)));
        byte[] whole = folder.read("a");
        int headerEnd = whole.length - 48;

        for (int i = 0; i < headerEnd; i++) {
            byte[] damaged = whole.clone();
            damaged[i] ^= 0x15;
            folder.write("bad", damaged);
            try (SafetensorsFile file = SafetensorsFile.open(folder, "bad")) {
                file.names()
                        .forEach(name -> file.read(name, 0, ByteBuffer.allocate((int)
                                file.info(name).byteLength())));
            } catch (WeightsException e) {
                assertThat(e).hasMessageContaining("bad");
            }
        }
    }

    @Test
    void refusesAnAbsurdHeaderLengthWithoutAllocatingIt() {
        ByteBuffer bytes =
                ByteBuffer.allocate(64).order(ByteOrder.LITTLE_ENDIAN).putLong(-1);
        folder.write("bad", bytes.array());

        assertThatThrownBy(() -> SafetensorsFile.open(folder, "bad"))
                .hasMessageContaining("its header length is 18446744073709551615, outside of 2..56");
    }

    @Test
    void recognisesAGitLfsPointer() {
        folder.write(
                "bad", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n".getBytes(StandardCharsets.UTF_8));

        assertThatThrownBy(() -> SafetensorsFile.open(folder, "bad"))
                .hasMessageContaining("is a Git LFS pointer, not the weights; run 'git lfs pull'");
    }
}
