package ulysses.driver.report;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.DataException;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.PackedShard;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.RangedFile;
import ulysses.runtime.weights.StorageException;

/**
 * Writes what people look at after a run into its {@code output_dir}, from the files that lie there: pictures, model card and page.
 * What can't be made is said and left out: a run that trained for days does not fail for a picture.
 */
public final class RunReport {
    private static final int EXAMPLE_ROWS = 2;
    private static final int SHARDS_TRIED = 3;

    /** Larger shards that are not on local disk are not fetched for a few examples. */
    private static final long LARGEST_COPY = 64L << 20;

    private final Folder output;
    private final Configuration hadoop;
    private final RunRecord run;
    private final List<String> made = new ArrayList<>();
    private final List<String> notes = new ArrayList<>();

    private RunReport(Folder output, Configuration hadoop) {
        this.output = output;
        this.hadoop = hadoop;
        this.run = RunRecord.read(output, hadoop);
    }

    /**
     * What was written.
     *
     * @param files names in {@code output_dir}
     * @param notes what could not be made, and why
     */
    public record Made(List<String> files, List<String> notes) {
        public Made {
            files = List.copyOf(files);
            notes = List.copyOf(notes);
        }
    }

    /** All of it, for a run that is done. */
    public static Made finished(Folder output, Configuration hadoop) {
        RunReport report = new RunReport(output, hadoop);
        Optional<TrainingConfig> config = report.run.arguments().flatMap(RunArguments::trainingConfig);
        config.ifPresent(report::card);
        if (config.isPresent() && config.get().output().plotLoss()) {
            report.pictures();
        }
        report.page(config);
        return new Made(report.made, report.notes);
    }

    /** The page alone, for a run that failed or still goes on. */
    public static Made unfinished(Folder output, Configuration hadoop) {
        RunReport report = new RunReport(output, hadoop);
        report.page(report.run.arguments().flatMap(RunArguments::trainingConfig));
        return new Made(report.made, report.notes);
    }

    private void card(TrainingConfig config) {
        boolean written = !output.has(ModelCard.FILE)
                || output.readText(ModelCard.FILE).contains(ModelCard.MARK)
                || config.output().overwriteOutputDir();
        if (!written) {
            notes.add("%s was there already and is kept; delete it to get a model card of this run"
                    .formatted(output.path(ModelCard.FILE)));
            return;
        }
        Folder base = Folder.at(config.model().modelNameOrPath(), hadoop);
        write(
                ModelCard.FILE,
                ModelCard.text(run, run.arguments().orElseThrow(), config, base).getBytes(StandardCharsets.UTF_8));
    }

    /** LLaMA-Factory draws loss, evaluations and reward accuracies; all rewards are drawn here. */
    private void pictures() {
        String folder = RunArguments.masked(output.path());
        run.names().stream()
                .filter(name -> name.matches("loss|eval_(.+_)?(loss|accuracy)|(eval_)?rewards/.+"))
                .map(run::series)
                .filter(series -> !series.isEmpty())
                .forEach(series -> picture(series, folder.substring(folder.lastIndexOf('/') + 1)));
    }

    private void picture(Series series, String name) {
        byte[] png;
        try {
            png = CurvePicture.png(series, name);
        } catch (LinkageError | InternalError | RuntimeException e) { // no fonts or no font library on this machine
            notes.add("no picture of %s: %s; install fontconfig and a font, for example fonts-dejavu-core"
                    .formatted(series.name(), e));
            return;
        }
        write(CurvePicture.fileName(series.name()), png);
    }

    private void page(Optional<TrainingConfig> config) {
        List<List<RowText.Document>> examples = config.isPresent() ? examples(config.get()) : List.of();
        write(ReportPage.FILE, ReportPage.html(run, examples, output).getBytes(StandardCharsets.UTF_8));
    }

    private void write(String name, byte[] bytes) {
        output.write(name, bytes);
        made.add(name);
    }

    private List<List<RowText.Document>> examples(TrainingConfig config) {
        try {
            Folder rows = Folder.at(run.arguments().orElseThrow().trainRows(), hadoop);
            Folder model = Folder.at(config.model().modelNameOrPath(), hadoop);
            RowText.Decoder decoder = model.has(ModelDirectory.TOKENIZER)
                    ? Tokenizer.open(config.model().modelNameOrPath(), hadoop)::decode
                    : RowText.IDS;
            RowText text = new RowText(decoder, RowText.Marks.PLAIN, RowText.Length.SHORT);
            List<PackedRow> first = firstRows(rows);
            if (first.isEmpty()) {
                notes.add("%s shows no examples: %s holds no rows that can be fetched quickly"
                        .formatted(ReportPage.FILE, rows.path()));
            }
            return first.stream().map(text::documents).toList();
        } catch (IOException | StorageException | DataException e) {
            notes.add("%s shows no examples: %s".formatted(ReportPage.FILE, e.getMessage()));
            return List.of();
        }
    }

    private static List<PackedRow> firstRows(Folder rows) throws IOException {
        List<String> shards = rows.list().stream()
                .map(Folder.Entry::name)
                .filter(name -> name.endsWith(".arrow"))
                .limit(SHARDS_TRIED)
                .toList();
        List<PackedRow> found = new ArrayList<>();
        for (String name : shards) {
            Path local = Path.of(rows.path(name));
            boolean here = Files.isRegularFile(local);
            if (found.size() == EXAMPLE_ROWS || (!here && rows.length(name).orElse(0) > LARGEST_COPY)) {
                break;
            }
            Path file = here ? local : copy(rows, name);
            try (PackedShard shard = PackedShard.open(file)) {
                for (long row = 0; row < shard.rows() && found.size() < EXAMPLE_ROWS; row++) {
                    found.add(shard.row(row));
                }
            } finally {
                if (!here) {
                    Files.delete(file);
                }
            }
        }
        return found;
    }

    private static Path copy(Folder rows, String name) throws IOException {
        Path copy = Files.createTempFile("rows", ".arrow");
        try (RangedFile file = rows.open(name)) {
            ByteBuffer bytes = ByteBuffer.allocate((int) file.length());
            file.read(0, bytes);
            Files.write(copy, bytes.array());
        }
        return copy;
    }
}
