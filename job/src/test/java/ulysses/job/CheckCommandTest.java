package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckCommandTest {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private Path file = Path.of("");

    @BeforeEach
    void nameFile(@TempDir Path folder) {
        file = folder.resolve("train.yaml");
    }

    @Test
    void everyKeyGetsALineAndAGoodFileEndsWithZero() throws IOException {
        Files.writeString(file, """
                model_name_or_path: m
                finetuning_type: full
                dataset: d
                output_dir: o
                lora_rank: 16
                """);

        int code = check("seed=1");

        assertThat(code).isZero();
        assertThat(lines())
                .containsExactly(
                        "supported  model_name_or_path m  Model to start from: a Hugging Face folder on local disk or any"
                                + " Hadoop file system, or ORG/NAME of the Hugging Face hub; see \"Models of the hub\"."
                                + " Required.",
                        "supported  finetuning_type full  Which parameters are trained: adapters beside the model, some of its"
                                + " layers, or all.",
                        "supported  dataset d             Datasets by their names in dataset_info.json, with commas"
                                + " between.",
                        "supported  output_dir o          Folder of the model, logs and checkpoints; any Hadoop file"
                                + " system. Required.",
                        "supported  lora_rank 16          Rank of LoRA's matrices.",
                        "supported  seed 1                Seed of data order, splits and random weights.",
                        "note       lora_rank 16 has no effect with finetuning_type full",
                        file + " can be trained");
    }

    @Test
    void refusedAndUnknownKeysEndWithTwo() throws IOException {
        Files.writeString(file, """
                model_name_or_path: m
                finetuning_type: full
                dataset: d
                output_dir: o
                use_muon: true
                lerning_rate: 1
                do_eval: true
                """);

        int code = check();

        assertThat(code).isEqualTo(2);
        assertThat(lines().subList(4, lines().size()))
                .containsExactly(
                        "refused    use_muon true         is not supported; leave it out; the optimizer is AdamW",
                        "unknown    lerning_rate 1        there is no such key; did you mean learning_rate?",
                        "supported  do_eval true          Evaluate once more at the end; needs eval_dataset or val_size.",
                        "problem    use_muon true is not supported; leave it out; the optimizer is AdamW (train.yaml,"
                                + " line 5)",
                        "problem    lerning_rate 1 is set, but there is no such key; did you mean learning_rate?"
                                + " (train.yaml, line 6)",
                        "problem    do_eval true needs data to evaluate on; set eval_dataset or val_size (train.yaml,"
                                + " line 7)",
                        file + " can't be trained: 3 problems");
    }

    private int check(String... overrides) {
        List<String> arguments = new ArrayList<>(List.of("check-config", file.toString()));
        arguments.addAll(List.of(overrides));
        return CheckCommand.run(
                CommandLine.parse(arguments, Map.of()),
                Map.of(),
                new Configuration(false),
                new PrintStream(bytes, true, StandardCharsets.UTF_8));
    }

    private List<String> lines() {
        return bytes.toString(StandardCharsets.UTF_8).lines().toList();
    }
}
