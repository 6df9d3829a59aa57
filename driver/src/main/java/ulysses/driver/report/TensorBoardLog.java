package ulysses.driver.report;

import java.io.ByteArrayOutputStream;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.Folder;

/**
 * A run as event files of TensorBoard, with the tags that transformers gives: train/loss, eval/loss. Steps that an attempt does
 * again replace those of the attempt before.
 */
final class TensorBoardLog implements RunFollower {
    private static final Duration BETWEEN_WRITES =
            Duration.ofSeconds(10); // S3 has no append: each write sends the file

    private static final DateTimeFormatter STAMP = DateTimeFormatter.ofPattern("MMMdd_HH-mm-ss", Locale.ROOT);

    private final Folder folder;
    private final String file;
    private final Clock clock;
    private final ByteArrayOutputStream unwritten = new ByteArrayOutputStream();
    private long lastStep = -1;
    private Instant lastWrite;

    /**
     * Begins a file.
     *
     * @param folder of the file
     * @param file its name, which has to hold "tfevents"
     * @param settings shown under Text, as Markdown
     */
    TensorBoardLog(Folder folder, String file, String settings, Clock clock) {
        this.folder = folder;
        this.file = file;
        this.clock = clock;
        this.lastWrite = clock.instant();
        write(TensorBoardEvent.version(clock.instant()));
        write(TensorBoardEvent.text(clock.instant(), "args/text_summary", settings));
    }

    /** The log of a run: in {@code logging_dir}, or in a new folder of {@code output_dir/runs} as transformers names it. */
    static TensorBoardLog open(
            TrainingConfig.Output output, String settings, Configuration hadoop, Clock clock, ZoneId zone) {
        String host = hostName();
        String told = output.reporting().loggingDirectory();
        String path = told != null
                ? told
                : "%s/runs/%s_%s"
                        .formatted(
                                output.outputDir(), STAMP.format(clock.instant().atZone(zone)), host);
        String file = "events.out.tfevents.%d.%s.%d.0"
                .formatted(
                        clock.instant().getEpochSecond(),
                        host,
                        ProcessHandle.current().pid());
        return new TensorBoardLog(Folder.at(path, hadoop), file, settings, clock);
    }

    private static String hostName() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException e) {
            return "localhost";
        }
    }

    /** Where the file lies. */
    String path() {
        return folder.path();
    }

    @Override
    public synchronized void accept(RankEvent event) {
        if (!(event instanceof RankEvent.Logged logged)) {
            return;
        }
        Instant now = clock.instant();
        if (logged.step() < lastStep) {
            write(TensorBoardEvent.restart(now, logged.step()));
        }
        lastStep = logged.step();
        Map<String, Double> values = new LinkedHashMap<>();
        logged.values().forEach((name, value) -> {
            if (!name.equals("step")) {
                values.put(tag(name), value);
            }
        });
        write(TensorBoardEvent.scalars(now, logged.step(), values));
        if (Duration.between(lastWrite, now).compareTo(BETWEEN_WRITES) >= 0) {
            flush();
        }
    }

    private static String tag(String name) {
        String evaluation = "eval_";
        return name.startsWith(evaluation) ? "eval/" + name.substring(evaluation.length()) : "train/" + name;
    }

    private void write(byte[] event) {
        byte[] framed = TensorBoardEvent.framed(event);
        unwritten.write(framed, 0, framed.length);
    }

    private void flush() {
        if (unwritten.size() > 0) {
            folder.append(file, unwritten.toByteArray());
            unwritten.reset();
        }
        lastWrite = clock.instant();
    }

    @Override
    public synchronized void end(RunRecord.Ending ending) {
        flush();
    }
}
