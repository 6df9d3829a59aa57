package ulysses.driver.report;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * Events of TensorBoard, spelled out: TensorFlow's {@code Event} message in the encoding of protocol buffers, and the frame of a
 * TFRecord around it. Field numbers are those of event.proto, summary.proto and tensor.proto.
 */
final class TensorBoardEvent {
    private static final int VARINT = 0;
    private static final int FIXED64 = 1;
    private static final int BYTES = 2;
    private static final int FIXED32 = 5;

    private static final int EVENT_WALL_TIME = 1;
    private static final int EVENT_STEP = 2;
    private static final int EVENT_FILE_VERSION = 3;
    private static final int EVENT_SUMMARY = 5;
    private static final int EVENT_SESSION_LOG = 7;
    private static final int SESSION_STATUS = 1;
    private static final int STATUS_START = 1;
    private static final int SUMMARY_VALUE = 1;
    private static final int VALUE_TAG = 1;
    private static final int VALUE_SIMPLE = 2;
    private static final int VALUE_TENSOR = 8;
    private static final int VALUE_METADATA = 9;
    private static final int METADATA_PLUGIN = 1;
    private static final int PLUGIN_NAME = 1;
    private static final int TENSOR_TYPE = 1;
    private static final int TENSOR_SHAPE = 2;
    private static final int TENSOR_STRING = 8;
    private static final int SHAPE_DIMENSION = 2;
    private static final int DIMENSION_SIZE = 1;
    private static final int TYPE_STRING = 7;

    private static final int MASK = 0xa282ead8; // of a TFRecord's checksums

    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    private TensorBoardEvent() {}

    /** What a file begins with. */
    static byte[] version(Instant time) {
        return at(time).bytes(EVENT_FILE_VERSION, "brain.Event:2".getBytes(StandardCharsets.UTF_8))
                .encoded();
    }

    /** Numbers of a step by tag; float32, as TensorBoard keeps them. */
    static byte[] scalars(Instant time, long step, Map<String, Double> values) {
        TensorBoardEvent summary = new TensorBoardEvent();
        values.forEach((tag, value) -> summary.bytes(
                SUMMARY_VALUE,
                new TensorBoardEvent()
                        .text(VALUE_TAG, tag)
                        .fixed32(VALUE_SIMPLE, value.floatValue())
                        .encoded()));
        return at(time).varint(EVENT_STEP, step)
                .bytes(EVENT_SUMMARY, summary.encoded())
                .encoded();
    }

    /** A text for the Text tab. */
    static byte[] text(Instant time, String tag, String text) {
        TensorBoardEvent dimension = new TensorBoardEvent().varint(DIMENSION_SIZE, 1);
        TensorBoardEvent tensor = new TensorBoardEvent()
                .varint(TENSOR_TYPE, TYPE_STRING)
                .bytes(
                        TENSOR_SHAPE,
                        new TensorBoardEvent()
                                .bytes(SHAPE_DIMENSION, dimension.encoded())
                                .encoded())
                .text(TENSOR_STRING, text);
        TensorBoardEvent plugin = new TensorBoardEvent().text(PLUGIN_NAME, "text");
        TensorBoardEvent value = new TensorBoardEvent()
                .text(VALUE_TAG, tag)
                .bytes(VALUE_TENSOR, tensor.encoded())
                .bytes(
                        VALUE_METADATA,
                        new TensorBoardEvent()
                                .bytes(METADATA_PLUGIN, plugin.encoded())
                                .encoded());
        TensorBoardEvent summary = new TensorBoardEvent().bytes(SUMMARY_VALUE, value.encoded());
        return at(time).bytes(EVENT_SUMMARY, summary.encoded()).encoded();
    }

    /** Says that {@code step} and later ones come again: TensorBoard forgets what it had of them. */
    static byte[] restart(Instant time, long step) {
        byte[] session =
                new TensorBoardEvent().varint(SESSION_STATUS, STATUS_START).encoded();
        return at(time).varint(EVENT_STEP, step)
                .bytes(EVENT_SESSION_LOG, session)
                .encoded();
    }

    /** An event as a TFRecord: length, checksum of the length, bytes, checksum of the bytes; little-endian. */
    static byte[] framed(byte[] event) {
        ByteBuffer record = ByteBuffer.allocate(event.length + 2 * Integer.BYTES + Long.BYTES)
                .order(ByteOrder.LITTLE_ENDIAN);
        record.putLong(event.length);
        record.putInt(masked(record.array(), Long.BYTES));
        record.put(event).putInt(masked(event, event.length));
        return record.array();
    }

    private static int masked(byte[] bytes, int length) {
        CRC32C checksum = new CRC32C();
        checksum.update(bytes, 0, length);
        return Integer.rotateRight((int) checksum.getValue(), 15) + MASK;
    }

    private static TensorBoardEvent at(Instant time) {
        double seconds = time.getEpochSecond() + time.getNano() / 1e9;
        TensorBoardEvent event = new TensorBoardEvent();
        event.key(EVENT_WALL_TIME, FIXED64);
        event.littleEndian(Double.doubleToLongBits(seconds), Long.BYTES);
        return event;
    }

    private void key(int field, int type) {
        plain(((long) field << 3) | type);
    }

    /** A base-128 varint. */
    private void plain(long value) {
        long left = value;
        while ((left & ~0x7fL) != 0) {
            bytes.write((int) ((left & 0x7f) | 0x80));
            left >>>= 7;
        }
        bytes.write((int) left);
    }

    private void littleEndian(long bits, int count) {
        for (int i = 0; i < count; i++) {
            bytes.write((int) (bits >>> (8 * i)));
        }
    }

    private TensorBoardEvent varint(int field, long value) {
        key(field, VARINT);
        plain(value);
        return this;
    }

    private TensorBoardEvent fixed32(int field, float value) {
        key(field, FIXED32);
        littleEndian(Float.floatToIntBits(value), Integer.BYTES);
        return this;
    }

    private TensorBoardEvent text(int field, String value) {
        return bytes(field, value.getBytes(StandardCharsets.UTF_8));
    }

    private TensorBoardEvent bytes(int field, byte[] value) {
        key(field, BYTES);
        plain(value.length);
        bytes.write(value, 0, value.length);
        return this;
    }

    private byte[] encoded() {
        return bytes.toByteArray();
    }
}
