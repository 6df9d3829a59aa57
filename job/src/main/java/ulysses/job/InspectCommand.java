package ulysses.job;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.hub.ModelHub;
import ulysses.driver.launch.ScratchDirectory;
import ulysses.driver.packing.PrepareDataset;
import ulysses.driver.report.RowText;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointManifest;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.PackedDataset;
import ulysses.runtime.data.PackedManifest;
import ulysses.runtime.weights.Folder;

/**
 * {@code inspect TARGET [--rows N] [--from ROW] [--tokenizer FOLDER] [--full]}: shows prepared rows with the trained tokens marked, or
 * what a checkpoint holds. TARGET is the YAML of a run (its prepared rows), a prepared folder, ours or one that {@code datasets.save_to_disk}
 * wrote, or a folder {@code checkpoint-N}. Needs no Spark session.
 */
final class InspectCommand {
    private static final String ROWS = "rows";
    private static final String FROM = "from";
    private static final String TOKENIZER = "tokenizer";
    private static final String FULL = "full";
    private static final List<String> OPTIONS = List.of(ROWS, FROM, TOKENIZER, FULL);
    private static final int ROWS_SHOWN = 3;

    private InspectCommand() {}

    static int run(
            CommandLine commandLine,
            Map<String, String> sparkConf,
            Configuration hadoop,
            Map<String, String> environment,
            PrintStream out)
            throws IOException, InterruptedException {
        CommandOptions options = CommandOptions.of(commandLine, OPTIONS);
        if (commandLine.file() == null) {
            throw new ConfigException(
                    "the command line",
                    List.of("inspect needs something to look at; name a YAML, a prepared folder or a checkpoint-N"));
        }
        // Texts of any language: not in the encoding of the terminal's locale, which may know ASCII only.
        PrintStream text = new PrintStream(out, true, StandardCharsets.UTF_8);
        Folder folder = Folder.at(commandLine.file(), hadoop);
        if (!folder.exists()) {
            TrainingConfig config =
                    ConfigFile.load(options.rest().sources(sparkConf), hadoop).config();
            String tokenizer = new ModelFolders(environment, hadoop, out)
                    .hub(config.model().cacheDirectory())
                    .folder(
                            "model_name_or_path",
                            options.text(TOKENIZER).orElse(config.model().modelNameOrPath()),
                            config.model().revision(),
                            ModelHub.Parts.MODEL_WITHOUT_WEIGHTS);
            rows(Folder.at(PrepareDataset.folder(config), hadoop), Optional.of(tokenizer), options, hadoop, text);
            return 0;
        }
        options.refuseKeys(OPTIONS);
        if (isCheckpoint(folder)) {
            CheckpointText.print(Checkpoint.open(folder, Checkpoint.Check.LENGTHS), options.flag(FULL), text);
        } else {
            rows(folder, options.text(TOKENIZER), options, hadoop, text);
        }
        return 0;
    }

    private static boolean isCheckpoint(Folder folder) {
        return folder.path().matches(".*/checkpoint-\\d+/*")
                || (folder.has(CheckpointManifest.FILE)
                        && folder.readText(CheckpointManifest.FILE).contains("\"" + CheckpointManifest.FORMAT + "\""));
    }

    private static void rows(
            Folder folder, Optional<String> tokenizer, CommandOptions options, Configuration hadoop, PrintStream out)
            throws IOException {
        boolean complete = folder.has(PackedManifest.FILE_NAME) || folder.has("state.json");
        Folder train = folder.folder("train");
        String path = !complete && train.exists() ? train.path() : folder.path();
        int wanted = options.count(ROWS, ROWS_SHOWN);
        try (ScratchDirectory copies = ScratchDirectory.temporary("inspect"); // of files that are not on local disk
                PackedDataset dataset = PackedDataset.open(path, copies.path(), hadoop)) {
            describe(dataset, path, out);
            RowText.Decoder decoder = decoder(dataset, tokenizer, hadoop, out);
            RowText text =
                    new RowText(decoder, marks(), options.flag(FULL) ? RowText.Length.FULL : RowText.Length.SHORT);
            long first = options.count(FROM, 0);
            for (long row = first; row < Math.min(first + wanted, dataset.rows()); row++) {
                out.println();
                text.lines(row, dataset.row(row)).forEach(out::println);
            }
        }
    }

    /** Colour for people, none for files and pipes. */
    @SuppressWarnings("SystemConsoleNull") // on 17 it is null when input or output is no terminal
    private static RowText.Marks marks() {
        return System.console() == null ? RowText.Marks.PLAIN : RowText.Marks.COLOURED;
    }

    private static void describe(PackedDataset dataset, String path, PrintStream out) {
        out.println(String.format(
                Locale.ROOT,
                "%s: %,d rows, %,d tokens, %,d of them trained (%.1f %%)",
                path,
                dataset.rows(),
                dataset.tokens(),
                dataset.trainedTokens(),
                100.0 * dataset.trainedTokens() / Math.max(1, dataset.tokens())));
        out.println(dataset.manifest()
                .map(manifest -> String.format(
                        Locale.ROOT,
                        "prepared here: cutoff_len %d, packing %s, %,d documents, %.2f %% of the places filled",
                        manifest.cutoffLength(),
                        manifest.packing().toLowerCase(Locale.ROOT),
                        manifest.documents(),
                        100.0 * manifest.tokens() / manifest.rows() / manifest.cutoffLength()))
                .orElse("written by another program (datasets.save_to_disk): no manifest, longest row %d tokens"
                        .formatted(dataset.longestRow())));
    }

    private static RowText.Decoder decoder(
            PackedDataset dataset, Optional<String> folder, Configuration hadoop, PrintStream out) {
        if (folder.isEmpty()) {
            out.println("shown as token ids; name the folder of the tokenizer to see text: --tokenizer FOLDER");
            return RowText.IDS;
        }
        Tokenizer tokenizer = Tokenizer.open(folder.get(), hadoop);
        dataset.manifest()
                .filter(manifest -> !manifest.tokenizerFingerprint().equals(tokenizer.fingerprint()))
                .ifPresent(manifest -> out.println("warning: these rows were made with another tokenizer than "
                        + tokenizer.folder() + "; the text may be wrong"));
        return tokenizer::decode;
    }
}
