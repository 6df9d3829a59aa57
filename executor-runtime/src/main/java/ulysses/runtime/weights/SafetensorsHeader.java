package ulysses.runtime.weights;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The header of a safetensors file: 8 bytes of length, then JSON; behind it the tensors lie one after the other without holes.
 *
 * @param dataStart where the tensors start in the file
 * @param tensors by name, in the order of the file
 */
record SafetensorsHeader(long dataStart, Map<String, WeightFile.TensorInfo> tensors) {
    /** The limit of the format's own library. */
    private static final long MAX_BYTES = 100_000_000;

    private static final String METADATA = "__metadata__";
    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build();

    /** Reads and checks the header of {@code file}. */
    static SafetensorsHeader read(RangedFile file) {
        if (file.length() < 8) {
            throw damaged(file, "it has %d bytes, fewer than the 8 of a header length".formatted(file.length()));
        }
        byte[] start = bytes(file, 0, 8);
        long length = ByteBuffer.wrap(start).order(ByteOrder.LITTLE_ENDIAN).getLong();
        if (new String(start, StandardCharsets.US_ASCII).equals("version ")) {
            throw new WeightsException("%s is a Git LFS pointer, not the weights; run 'git lfs pull' in its folder"
                    .formatted(file.path()));
        }
        long limit = Math.min(MAX_BYTES, file.length() - 8);
        if (length < 2 || length > limit) {
            throw damaged(
                    file, "its header length is %s, outside of 2..%d".formatted(Long.toUnsignedString(length), limit));
        }
        JsonNode root = parse(file, bytes(file, 8, (int) length));
        Map<String, WeightFile.TensorInfo> tensors = new LinkedHashMap<>();
        root.properties().forEach(entry -> {
            if (!entry.getKey().equals(METADATA)) {
                tensors.put(entry.getKey(), tensor(file, entry.getKey(), entry.getValue()));
            }
        });
        checkLayout(file, tensors.values(), file.length() - 8 - length);
        return new SafetensorsHeader(8 + length, tensors);
    }

    private static byte[] bytes(RangedFile file, long position, int count) {
        byte[] bytes = new byte[count];
        file.read(position, ByteBuffer.wrap(bytes));
        return bytes;
    }

    private static JsonNode parse(RangedFile file, byte[] json) {
        try {
            JsonNode root = JSON.readTree(json);
            if (root == null || !root.isObject()) {
                throw damaged(file, "its header is no JSON object");
            }
            return root;
        } catch (JsonProcessingException e) {
            throw damaged(file, "its header is not valid JSON (%s)".formatted(e.getOriginalMessage()));
        } catch (IOException e) {
            throw damaged(file, "its header is not valid JSON (%s)".formatted(e.getMessage()));
        }
    }

    private static WeightFile.TensorInfo tensor(RangedFile file, String name, JsonNode entry) {
        String typeName = entry.path("dtype").asText("missing");
        DataType type = DataType.ofName(typeName)
                .orElseThrow(() -> new WeightsException(
                        "%s: tensor %s has dtype %s; only %s are supported, take unquantised weights"
                                .formatted(file.path(), name, typeName, Arrays.toString(DataType.values()))));
        long[] shape = numbers(file, name, entry.path("shape"), "shape");
        long[] offsets = numbers(file, name, entry.path("data_offsets"), "data_offsets");
        if (offsets.length != 2 || offsets[0] > offsets[1]) {
            throw damaged(
                    file, "tensor %s has data_offsets %s, not [begin, end]".formatted(name, Arrays.toString(offsets)));
        }
        long expected;
        try {
            expected = Math.multiplyExact(Shapes.elements(shape), (long) type.bytes());
        } catch (ArithmeticException e) {
            throw damaged(file, "tensor %s has the impossible shape %s".formatted(name, Arrays.toString(shape)));
        }
        if (offsets[1] - offsets[0] != expected) {
            throw damaged(
                    file,
                    "tensor %s %s%s needs %d bytes but its data_offsets %s span %d"
                            .formatted(
                                    name,
                                    type,
                                    Arrays.toString(shape),
                                    expected,
                                    Arrays.toString(offsets),
                                    offsets[1] - offsets[0]));
        }
        return new WeightFile.TensorInfo(name, type, shape, offsets[0]);
    }

    private static long[] numbers(RangedFile file, String tensor, JsonNode array, String key) {
        long[] numbers = new long[array.size()];
        for (int i = 0; i < numbers.length; i++) {
            JsonNode number = array.path(i);
            if (!number.isIntegralNumber() || !number.canConvertToLong() || number.asLong() < 0) {
                throw damaged(
                        file,
                        "tensor %s has the entry %s in %s, not a whole number from 0".formatted(tensor, number, key));
            }
            numbers[i] = number.asLong();
        }
        if (!array.isArray()) {
            throw damaged(file, "tensor %s has no array %s".formatted(tensor, key));
        }
        return numbers;
    }

    /** INVARIANT: sorted by offset, each tensor starts where the one before ends, and the last ends with the file. */
    private static void checkLayout(RangedFile file, Collection<WeightFile.TensorInfo> tensors, long dataLength) {
        List<WeightFile.TensorInfo> sorted = new ArrayList<>(tensors);
        sorted.sort(Comparator.comparingLong(WeightFile.TensorInfo::offset)
                .thenComparingLong(WeightFile.TensorInfo::byteLength));
        long end = 0;
        for (WeightFile.TensorInfo tensor : sorted) {
            if (tensor.offset() != end) {
                throw damaged(
                        file,
                        "tensor %s starts at %d but the one before ends at %d"
                                .formatted(tensor.name(), tensor.offset(), end));
            }
            end += tensor.byteLength();
            if (end > dataLength) {
                throw damaged(
                        file,
                        "tensor %s ends at %d but only %d bytes of tensors are there"
                                .formatted(tensor.name(), end, dataLength));
            }
        }
        if (end != dataLength) {
            throw damaged(file, "%d bytes follow the last tensor".formatted(dataLength - end));
        }
    }

    private static WeightsException damaged(RangedFile file, String reason) {
        return new WeightsException("%s is damaged, cut off or no safetensors file: %s; copy or download it again"
                .formatted(file.path(), reason));
    }

    /** The first bytes of a file that holds {@code tensors} in this order: padded with spaces to a multiple of 8. */
    static byte[] encode(List<TensorData> tensors) {
        ObjectNode root = JSON.createObjectNode();
        root.putObject(METADATA).put("format", "pt");
        long offset = 0;
        for (TensorData tensor : tensors) {
            ObjectNode entry = root.putObject(tensor.name());
            entry.put("dtype", tensor.type().name());
            entry.putPOJO("shape", tensor.shape());
            entry.putArray("data_offsets").add(offset).add(offset + tensor.byteLength());
            offset += tensor.byteLength();
        }
        try {
            byte[] json = JSON.writeValueAsBytes(root);
            int padded = (json.length + 7) / 8 * 8;
            ByteBuffer bytes = ByteBuffer.allocate(8 + padded).order(ByteOrder.LITTLE_ENDIAN);
            bytes.putLong(padded).put(json);
            Arrays.fill(bytes.array(), 8 + json.length, 8 + padded, (byte) ' ');
            return bytes.array();
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a tree of names and numbers can always be written", e);
        }
    }
}
