package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.job.TinyRun.Result;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.WeightIndex;

class ExportCommandTest {
    @TempDir
    private Path temporary;

    private TinyRun run;

    @BeforeEach
    void make() throws IOException {
        run = new TinyRun(temporary);
    }

    @Test
    void aYamlExportsItsNewestCheckpointBesideIt() throws IOException {
        run.save(10);
        run.save(20);

        Result result = TinyRun.run("export", run.yaml().toString());

        Path export = run.output().resolve("export-20");
        assertThat(result.err()).isEmpty();
        assertThat(result.code()).isZero();
        assertThat(result.out().lines())
                .containsExactly(
                        "checkpoint: " + run.checkpoint(20) + " (step 20, epoch 2.00)",
                        "model:      " + export + ": LlamaForCausalLM, 196 parameters in 12 tensors, float32",
                        "  model.safetensors  1.9 kB",
                        "  config.json, tokenizer.json",
                        "next: load the folder with transformers' AutoModelForCausalLM, or train on with"
                                + " model_name_or_path: " + export);
        assertThatWeightsAreThoseOfStep(20, export);
    }

    @Test
    void aCheckpointFolderExportsThatOneWhereWanted() throws IOException {
        run.save(10);
        run.save(20);
        Path export = temporary.resolve("elsewhere");

        Result result = TinyRun.run("export", run.checkpoint(10).toString(), "--export_dir", export.toString());

        assertThat(result.code()).isZero();
        assertThat(files(export)).containsExactly("config.json", "model.safetensors", "tokenizer.json");
        assertThatWeightsAreThoseOfStep(10, export);
    }

    @Test
    void splitsWeightsAsTheYamlSays() throws IOException {
        run.save(10);

        Result result = TinyRun.run("export", run.yaml().toString(), "max_shard_size=0.5KB");

        assertThat(result.out()).contains("  model-00001-of-").contains("  model.safetensors.index.json");
        assertThatWeightsAreThoseOfStep(10, run.output().resolve("export-10"));
    }

    @Test
    void passesOverADamagedCheckpointOfARunWithAWarning() throws IOException {
        run.save(10);
        damage(run.save(20).manifest().files().get(0).name());

        Result result = TinyRun.run("export", run.yaml().toString());

        assertThat(result.code()).isZero();
        assertThat(result.out())
                .startsWith("warning: checkpoint-20 is passed over: ")
                .contains("(step 10, ");
        assertThatWeightsAreThoseOfStep(10, run.output().resolve("export-10"));
    }

    @Test
    void refusesADamagedCheckpointThatWasNamedAndWritesNothing() throws IOException {
        damage(run.save(20).manifest().files().get(0).name());

        Result result = TinyRun.run("export", run.checkpoint(20).toString());

        assertThat(result.code()).isEqualTo(6);
        assertThat(result.err()).contains("is damaged: its checksum does not match; use the checkpoint before it");
        assertThat(run.output().resolve("export-20")).doesNotExist();
    }

    @Test
    void refusesAFolderWithoutCheckpoint() {
        Result none = TinyRun.run("export", run.yaml().toString());
        Result noCheckpoint = TinyRun.run("export", temporary.resolve("model").toString());
        Result nothing = TinyRun.run("export", temporary.resolve("checkpoint-7").toString());

        assertThat(none.code()).isEqualTo(6);
        assertThat(none.err())
                .isEqualTo("error: " + run.output()
                        + " holds no complete checkpoint; train with save_strategy: steps first, or name a folder"
                        + " checkpoint-N\n");
        assertThat(noCheckpoint.code()).isEqualTo(6);
        assertThat(noCheckpoint.err()).contains("model holds no MANIFEST.json: it was not finished");
        assertThat(nothing.code()).isEqualTo(2);
        assertThat(nothing.err()).contains("checkpoint-7");
    }

    @Test
    void refusesToWriteIntoTheCheckpointOrOverTheFirstModel() throws IOException {
        run.save(10);
        String model = run.model().folder().path();

        Result same = TinyRun.run(
                "export",
                run.yaml().toString(),
                "--export-dir=" + run.checkpoint(10).resolve("inside"));
        Result first = TinyRun.run("export", run.yaml().toString(), "export_dir=" + model);

        assertThat(same.code()).isEqualTo(2);
        assertThat(same.err()).contains("inside lies in the checkpoint itself; choose another folder");
        assertThat(first.code()).isEqualTo(2);
        assertThat(first.err()).contains(model + " is the model that training started from (model_name_or_path)");
        assertThat(files(Path.of(model))).containsExactly("config.json", "tokenizer.json");
    }

    @Test
    void refusesKeysOfAConfigurationWithAFolder() {
        run.save(10);

        Result result = TinyRun.run("export", run.checkpoint(10).toString(), "--export_path", "x");

        assertThat(result.code()).isEqualTo(2);
        assertThat(result.err())
                .contains("export_path is no option of export for a folder; use --export_dir, or name the YAML");
    }

    private void damage(String file) throws IOException {
        Path path = run.checkpoint(20).resolve(file);
        byte[] bytes = Files.readAllBytes(path);
        bytes[bytes.length - 1] ^= 1;
        Files.write(path, bytes);
    }

    private static List<String> files(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    private void assertThatWeightsAreThoseOfStep(long step, Path export) {
        Folder folder = TinyRun.at(export.toString());
        List<ParameterSpec> parameters = run.model().spec().parameters();
        try (WeightIndex weights = ModelDirectory.open(folder).weights()) {
            for (int p = 0; p < parameters.size(); p++) {
                ByteBuffer bytes = ByteBuffer.allocate((int) parameters.get(p).elements() * Float.BYTES)
                        .order(ByteOrder.LITTLE_ENDIAN);
                weights.read(parameters.get(p).name(), 0, bytes);
                bytes.flip();
                for (long i = 0; bytes.hasRemaining(); i++) {
                    assertThat(bytes.getFloat()).isEqualTo(TinyRun.weight(step, p, i));
                }
            }
        }
    }
}
