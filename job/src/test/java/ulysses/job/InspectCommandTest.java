package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.job.TinyRun.Result;
import ulysses.runtime.data.PackedDataset;
import ulysses.runtime.data.PackedDatasetWriter;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.PackedShardWriter;

class InspectCommandTest {
    private static final String MODEL = "../conf/quickstart/model";
    private static final int NO = PackedRow.IGNORE_INDEX;

    private final Tokenizer tokenizer = Tokenizer.open(MODEL, new Configuration(false));

    @TempDir
    private Path temporary;

    @Test
    void showsRowsDecodedWithTrainedTokensMarked() throws IOException {
        Path rows = prepare(tokenizer.fingerprint(), row("Who are you?", " A tiny", " model."), row("Next", " one"));

        Result result = TinyRun.run("inspect", rows.toString(), "--tokenizer", MODEL);

        assertThat(result.err()).isEmpty();
        assertThat(result.out().lines().skip(2))
                .containsExactly(
                        "",
                        "row 0: %d tokens in 1 document, %d trained, 1 padding"
                                .formatted(length("Who are you?", " A tiny", " model."), length(" A tiny")),
                        "--- document 1 of 1: %d tokens, %d trained"
                                .formatted(length("Who are you?", " A tiny", " model."), length(" A tiny")),
                        "Who are you?⟦ A tiny⟧ model.",
                        "",
                        "row 1: %d tokens in 1 document, %d trained, 1 padding"
                                .formatted(length("Next", " one"), length(" one")),
                        "--- document 1 of 1: %d tokens, %d trained".formatted(length("Next", " one"), length(" one")),
                        "Next⟦ one⟧");
        assertThat(result.out().lines().findFirst().orElseThrow())
                .isEqualTo("%s: 2 rows, %d tokens, %d of them trained (%.1f %%)"
                        .formatted(
                                rows,
                                length("Who are you?", " A tiny", " model.", "Next", " one"),
                                length(" A tiny", " one"),
                                100.0
                                        * length(" A tiny", " one")
                                        / length("Who are you?", " A tiny", " model.", "Next", " one")));
    }

    @Test
    void aYamlShowsThePreparedRowsOfItsRun() throws IOException {
        Path rows = prepare(tokenizer.fingerprint(), row("Hi", " there"));
        Path yaml = temporary.resolve("run.yaml");
        Files.writeString(yaml, """
                model_name_or_path: %s
                finetuning_type: full
                dataset: d
                output_dir: %s
                prepared_dir: %s
                """.formatted(MODEL, temporary.resolve("out"), rows.getParent()));

        Result result = TinyRun.run("inspect", yaml.toString(), "--rows", "1");

        assertThat(result.err()).isEmpty();
        assertThat(result.out()).startsWith(rows + ": 1 rows").contains("Hi⟦ there⟧");
    }

    @Test
    void showsWhatAnotherProgramSaved() throws IOException {
        Path rows = prepare("f", row("Hi", " there"));
        Files.delete(rows.resolve("MANIFEST.json"));

        Result result = TinyRun.run("inspect", temporary.resolve("prepared").toString(), "--tokenizer", MODEL);

        assertThat(result.err()).isEmpty();
        assertThat(result.out())
                .startsWith(rows + ": 1 rows")
                .contains("written by another program (datasets.save_to_disk): no manifest, longest row ")
                .contains("Hi⟦ there⟧");
    }

    @Test
    void withoutTokenizerIdsAreShown() throws IOException {
        Path rows = prepare("f", new PackedRow(new int[] {5, 6, 7, 0}, new int[] {5, NO, 7, NO}, new int[] {3}));

        Result result = TinyRun.run("inspect", rows.toString());

        assertThat(result.out()).contains("name the folder of the tokenizer");
        assertThat(result.out().lines()).endsWith("--- document 1 of 1: 3 tokens, 1 trained", "5 6⟦7⟧");
    }

    @Test
    void warnsOfAnotherTokenizer() throws IOException {
        Path rows = prepare("another", row("Hi"));

        Result result = TinyRun.run("inspect", rows.toString(), "--tokenizer", MODEL);

        assertThat(result.out()).contains("warning: these rows were made with another tokenizer than " + MODEL);
    }

    @Test
    void showsAsManyRowsAsWanted() throws IOException {
        PackedRow row = row("Hi");
        Path rows = prepare("f", row, row, row, row, row);

        assertThat(TinyRun.run("inspect", rows.toString()).out().lines().filter(line -> line.startsWith("row ")))
                .hasSize(3);
        assertThat(TinyRun.run("inspect", rows.toString(), "--rows", "4")
                        .out()
                        .lines()
                        .filter(line -> line.startsWith("row ")))
                .hasSize(4);
        assertThat(TinyRun.run("inspect", rows.toString(), "--rows", "many").err())
                .contains("--rows many is not a whole number >= 0; write one, such as 3");
    }

    @Test
    void showsWhatACheckpointHolds() throws IOException {
        TinyRun run = new TinyRun(temporary);
        run.save(20);

        Result result = TinyRun.run("inspect", run.checkpoint(20).toString());

        assertThat(result.err()).isEmpty();
        assertThat(result.out().lines().limit(10))
                .containsExactly(
                        run.checkpoint(20) + ": complete, every file has its length",
                        "  step       20 of 30, epoch 2.0000",
                        "  loss       2.5000 logged at step 20, mean of all steps 3.0000",
                        "  seen       80 rows, 8,000 tokens, 800 trained; 7 s",
                        "  written by 2 ranks, sequence_parallel_size 2, attempt 1; any number of ranks can go on from it",
                        "  model      LlamaForCausalLM, 196 parameters, 1 layers, hidden size 4",
                        "  exp_avg    AdamW's mean of gradients: 196 elements of 12 parameters, float32, 784 B",
                        "  model      weights: 196 elements of 12 parameters, float32, 784 B",
                        "parameters",
                        "  model.embed_tokens.weight[8, 4] float32");
        assertThat(result.out()).contains("files\n").contains("model-rank00001-of-00002.safetensors");
    }

    @Test
    void refusesWhatHoldsNothingToShow() throws IOException {
        Result empty = TinyRun.run("inspect", temporary.toString());
        Result unfinished = TinyRun.run(
                "inspect",
                Files.createDirectory(temporary.resolve("checkpoint-4")).toString());
        Result none = TinyRun.run("inspect");

        assertThat(empty.code()).isEqualTo(3);
        assertThat(empty.err()).contains("holds no packed rows: neither MANIFEST.json nor state.json is there");
        assertThat(unfinished.code()).isEqualTo(6);
        assertThat(unfinished.err()).contains("checkpoint-4 holds no MANIFEST.json: it was not finished");
        assertThat(none.code()).isEqualTo(2);
        assertThat(none.err()).contains("inspect needs something to look at");
    }

    private int length(String... texts) {
        return Arrays.stream(texts)
                .mapToInt(text -> tokenizer.encode(text).length)
                .sum();
    }

    /** One document of texts that are trained on and not in turn, beginning with one that is not; then one place of padding. */
    private PackedRow row(String... texts) {
        int[] ids = new int[length(texts) + 1];
        int[] labels = new int[ids.length];
        Arrays.fill(labels, NO);
        int next = 0;
        for (int i = 0; i < texts.length; i++) {
            for (int id : tokenizer.encode(texts[i])) {
                ids[next] = id;
                labels[next] = i % 2 == 1 ? id : NO;
                next++;
            }
        }
        return new PackedRow(ids, labels, new int[] {next});
    }

    private Path prepare(String fingerprint, PackedRow... rows) throws IOException {
        Path folder = temporary.resolve("prepared/train");
        PackedDatasetWriter writer = PackedDatasetWriter.of(folder.toString(), new Configuration(false));
        String name = PackedDatasetWriter.shardName(0, 1);
        PackedShardWriter.Written written;
        try (PackedShardWriter shard = writer.shard(name)) {
            for (PackedRow row : rows) {
                shard.add(row);
            }
            written = shard.finish();
        }
        writer.commit(
                List.of(new PackedDatasetWriter.Shard(name, written)),
                new PackedDatasetWriter.Origin(64, "BEST_FIT", PackedDataset.Content.TEXTS, fingerprint, "data"));
        return folder;
    }
}
