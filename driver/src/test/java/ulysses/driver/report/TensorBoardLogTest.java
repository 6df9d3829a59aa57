package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.Folder;

/** Event files, read back by a reader written from the format's description alone, checksums bit by bit. */
class TensorBoardLogTest {
    @TempDir
    private Path folder;

    /** A field of a message: a number, or bytes. */
    @SuppressWarnings("ArrayRecordComponent") // never compared
    private record Field(int number, long value, byte[] bytes) {
        String text() {
            return new String(bytes, StandardCharsets.UTF_8);
        }
    }

    @Test
    void writesWhatWasLoggedUnderTransformersTags() {
        List<List<Field>> events = written(log -> {
            log.accept(logged(10, "loss", 8.5, "grad_norm", 1.25, "step", 10.0));
            log.accept(logged(10, "eval_loss", 7.75));
            log.accept(logged(300, "rewards/margins", -0.5));
        });

        assertThat(events).hasSize(5);
        assertThat(only(events.get(0), 3).text()).isEqualTo("brain.Event:2");
        assertThat(Double.longBitsToDouble(only(events.get(0), 1).value()))
                .isEqualTo((double) ReportedRun.CLOCK.instant().getEpochSecond());
        assertThat(only(events.get(2), 2).value()).isEqualTo(10);
        assertThat(scalars(events.get(2))).isEqualTo(Map.of("train/loss", 8.5f, "train/grad_norm", 1.25f));
        assertThat(scalars(events.get(3))).isEqualTo(Map.of("eval/loss", 7.75f));
        assertThat(only(events.get(4), 2).value()).isEqualTo(300);
        assertThat(scalars(events.get(4))).isEqualTo(Map.of("train/rewards/margins", -0.5f));
    }

    @Test
    void settingsAreATextSummary() {
        List<Field> value =
                message(only(message(only(written(log -> {}).get(1), 5).bytes()), 1)
                        .bytes());

        assertThat(only(value, 1).text()).isEqualTo("args/text_summary");
        List<Field> tensor = message(only(value, 8).bytes());
        assertThat(only(tensor, 1).value()).isEqualTo(7); // DT_STRING
        assertThat(only(tensor, 8).text()).isEqualTo("| key | value |");
        assertThat(only(message(only(message(only(value, 9).bytes()), 1).bytes()), 1)
                        .text())
                .isEqualTo("text");
    }

    @Test
    void stepsThatComeAgainBeginASession() {
        List<List<Field>> events = written(log -> {
            log.accept(logged(5, "loss", 1.0));
            log.accept(logged(4, "loss", 2.0));
        });

        List<Field> restart = events.get(3);
        assertThat(only(restart, 2).value()).isEqualTo(4);
        assertThat(only(message(only(restart, 7).bytes()), 1).value()).isEqualTo(1); // START
    }

    private static RankEvent.Logged logged(long step, Object... pairs) {
        Map<String, Double> values = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            values.put((String) pairs[i], (Double) pairs[i + 1]);
        }
        return new RankEvent.Logged(0, step, values);
    }

    private List<List<Field>> written(Consumer<TensorBoardLog> run) {
        Folder board = Folder.at(folder.toString(), ReportedRun.HADOOP);
        TensorBoardLog log = new TensorBoardLog(board, "events.out.tfevents.1", "| key | value |", ReportedRun.CLOCK);
        run.accept(log);
        log.end(RunRecord.Ending.DONE);
        return records(board.read("events.out.tfevents.1"));
    }

    private static List<List<Field>> records(byte[] file) {
        ByteBuffer in = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
        List<List<Field>> records = new ArrayList<>();
        while (in.hasRemaining()) {
            byte[] head = new byte[8];
            in.get(in.position(), head);
            long length = in.getLong();
            assertThat(in.getInt()).as("checksum of the length").isEqualTo(masked(head));
            byte[] body = new byte[(int) length];
            in.get(body);
            assertThat(in.getInt()).as("checksum of the event").isEqualTo(masked(body));
            records.add(message(body));
        }
        return records;
    }

    /** CRC-32C bit by bit, rotated by 15 and moved, as TFRecord says. */
    private static int masked(byte[] bytes) {
        int crc = ~0;
        for (byte b : bytes) {
            crc ^= b & 255;
            for (int bit = 0; bit < 8; bit++) {
                crc = (crc & 1) == 0 ? crc >>> 1 : (crc >>> 1) ^ 0x82f63b78;
            }
        }
        crc = ~crc;
        return ((crc >>> 15) | (crc << 17)) + 0xa282ead8;
    }

    private static Map<String, Float> scalars(List<Field> event) {
        Map<String, Float> scalars = new LinkedHashMap<>();
        for (Field value : message(only(event, 5).bytes())) {
            List<Field> fields = message(value.bytes());
            scalars.put(only(fields, 1).text(), Float.intBitsToFloat((int)
                    only(fields, 2).value()));
        }
        return scalars;
    }

    private static Field only(List<Field> fields, int number) {
        return fields.stream()
                .filter(field -> field.number() == number)
                .findFirst()
                .orElseThrow();
    }

    private static List<Field> message(byte[] bytes) {
        ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        List<Field> fields = new ArrayList<>();
        while (in.hasRemaining()) {
            long key = varint(in);
            int number = (int) (key >>> 3);
            switch ((int) (key & 7)) {
                case 0 -> fields.add(new Field(number, varint(in), new byte[0]));
                case 1 -> fields.add(new Field(number, in.getLong(), new byte[0]));
                case 2 -> {
                    byte[] content = new byte[(int) varint(in)];
                    in.get(content);
                    fields.add(new Field(number, 0, content));
                }
                case 5 -> fields.add(new Field(number, in.getInt(), new byte[0]));
                default -> throw new AssertionError("no wire type " + key);
            }
        }
        return fields;
    }

    private static long varint(ByteBuffer in) {
        long value = 0;
        for (int shift = 0; ; shift += 7) {
            byte b = in.get();
            value |= (long) (b & 127) << shift;
            if (b >= 0) {
                return value;
            }
        }
    }
}
