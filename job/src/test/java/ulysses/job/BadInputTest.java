package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Whatever is wrong with the input: one message that says what, which value, which limit and what to do; and no half of a model. */
@ExtendWith(SharedCluster.class)
class BadInputTest {
    private static final int CONFIG = 2;
    private static final int DATA = 3;
    private static final int DIVERGED = 4;
    private static final int STORAGE = 6;

    @TempDir
    private Path folder;

    /** Spoils the files of a run that works otherwise. */
    private interface Spoiling {
        void in(Path folder) throws IOException;
    }

    private static final Spoiling NOTHING = folder -> {};

    @BeforeEach
    void layOutWhatWorks() {
        Resources.copy(Resources.QUICKSTART.resolve("data/identity.json"), folder.resolve("data/identity.json"));
        Resources.copyModel("tiny-llama", folder.resolve("tiny"));
        Resources.copy(Resources.QUICKSTART.resolve("model"), folder.resolve("model"));
        Resources.yaml(folder.resolve("data/dataset_info.json"), """
                {"identity": {"file_name": "identity.json"},
                 "lines": {"file_name": "lines.jsonl"},
                 "columns": {"file_name": "identity.json", "columns": {"prompt": "question", "response": "output"}},
                 "missing": {"file_name": "nowhere.jsonl"}}
                """);
    }

    static Stream<Arguments> refusals() {
        return Stream.of(
                refused("unknown template", CONFIG, NOTHING, "template=lama3", "template lama3", "llama3"),
                refused("unknown key", CONFIG, NOTHING, "learning_rat=1", "learning_rat", "learning_rate"),
                refused(
                        "cutoff_len not divisible",
                        CONFIG,
                        NOTHING,
                        "cutoff_len=255",
                        "cutoff_len 255 is not divisible by sequence_parallel_size 2; use 256"),
                refused(
                        "more ranks than heads",
                        CONFIG,
                        NOTHING,
                        "sequence_parallel_size=16 num_ranks=16",
                        "sequence_parallel_size 16 is more than num_attention_heads 8",
                        "use at most 8"),
                refused(
                        "too few slots",
                        CONFIG,
                        NOTHING,
                        "num_ranks=4 rendezvous_timeout=1",
                        "num_ranks 4 is more than the cluster offers: 2 free task slots after 1 s (rendezvous_timeout)",
                        "start more executors"),
                refused(
                        "output is a file",
                        CONFIG,
                        folder -> Files.writeString(folder.resolve("out"), "in the way"),
                        "",
                        "output_dir",
                        "can't be written to",
                        "choose a folder that this user can write to"),
                refused(
                        "output can't be written",
                        CONFIG,
                        NOTHING,
                        "output_dir=/proc/ulysses",
                        "output_dir /proc/ulysses can't be written to",
                        "choose a folder that this user can write to"),
                refused(
                        "output is the model",
                        CONFIG,
                        NOTHING,
                        "output_dir=FOLDER/model overwrite_output_dir=true",
                        "output_dir",
                        "is model_name_or_path, whose weights the run would replace; choose another folder"),
                refused(
                        "missing model folder",
                        CONFIG,
                        NOTHING,
                        "model_name_or_path=FOLDER/elsewhere",
                        "model_name_or_path",
                        "there is no folder",
                        "check the path"),
                refused(
                        "hub id",
                        CONFIG,
                        NOTHING,
                        "model_name_or_path=meta-llama/Meta-Llama-3-8B-Instruct",
                        "model_name_or_path meta-llama/Meta-Llama-3-8B-Instruct is no folder, ",
                        "/no-hub/hub does not hold it, and HF_HUB_OFFLINE forbids to download it; name a folder, or allow it"),
                refused(
                        "tokenizer of another model",
                        CONFIG,
                        folder -> Resources.copy(
                                Resources.QUICKSTART.resolve("model/tokenizer.json"),
                                folder.resolve("tiny/tokenizer.json")),
                        "model_name_or_path=FOLDER/tiny train_from_scratch=false",
                        "tokenizer's largest token id 4095 does not fit the model's vocab_size 512; use the tokenizer that"
                                + " came with the model"),
                refused(
                        "truncated weights",
                        CONFIG,
                        folder -> {
                            Path weights = folder.resolve("tiny/model.safetensors");
                            byte[] bytes = Files.readAllBytes(weights);
                            Files.write(weights, Arrays.copyOf(bytes, bytes.length - 1000));
                        },
                        "model_name_or_path=FOLDER/tiny train_from_scratch=false",
                        "model.safetensors is damaged, cut off or no safetensors file",
                        "copy or download it again"),
                refused(
                        "corrupt weights",
                        CONFIG,
                        folder -> {
                            Path weights = folder.resolve("tiny/model.safetensors");
                            byte[] bytes = Files.readAllBytes(weights);
                            bytes[20] = 0;
                            Files.write(weights, bytes);
                        },
                        "model_name_or_path=FOLDER/tiny train_from_scratch=false",
                        "model.safetensors is damaged, cut off or no safetensors file",
                        "copy or download it again"),
                refused("unknown dataset", DATA, NOTHING, "dataset=identiti", "identiti", "identity"),
                refused("missing file", DATA, NOTHING, "dataset=missing", "nowhere.jsonl", "dataset_info.json"),
                refused(
                        "malformed line",
                        DATA,
                        folder -> Files.writeString(
                                folder.resolve("data/lines.jsonl"),
                                "{\"instruction\": \"a\", \"output\": \"b\"}\n{\"instruction\": \"a\", \"output\"\n"),
                        "dataset=lines",
                        "lines.jsonl",
                        "line 2"),
                refused(
                        "wrong column",
                        DATA,
                        NOTHING,
                        "dataset=columns",
                        "question",
                        "instruction",
                        "dataset_info.json"));
    }

    /** They show when there is a loss. */
    static Stream<Arguments> refusalsOfRanks() {
        String tiny = "dataset= tokenized_path=FOLDER/tokenized/seq_lengths model_name_or_path=FOLDER/tiny"
                + " train_from_scratch=false";
        return Stream.of(refused(
                "no numbers any more", DIVERGED, NOTHING, tiny + " learning_rate=1e30", "not finite", "learning_rate"));
    }

    private static Arguments refused(String what, int code, Spoiling spoiling, String changes, String... says) {
        return Arguments.of(what, code, spoiling, changes, List.of(says));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("refusals")
    void refusesBeforeARankStarts(String what, int code, Spoiling spoiling, String changes, List<String> says)
            throws IOException {
        spoiling.in(folder);

        JobRun run = JobRun.of(arguments(changes));

        expectRefusal(run, code, says);
        assertThat(run.err()).as(what).doesNotContain("\tat ");
        assertThat(run.out()).doesNotContain("phase load");
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("refusalsOfRanks")
    void refusesWhatOnlyARankSees(String what, int code, Spoiling spoiling, String changes, List<String> says)
            throws IOException {
        Resources.copy("tokenized", folder.resolve("tokenized"));
        spoiling.in(folder);

        JobRun run = JobRun.of(arguments(changes));

        expectRefusal(run, code, says);
        assertThat(run.err()).as(what).contains("rank ").contains("last lines of its log");
    }

    private void expectRefusal(JobRun run, int code, List<String> says) {
        assertThat(run.code()).as(run.err()).isEqualTo(code);
        assertThat(run.err()).startsWith("error: ").contains(says);
        for (String half : List.of("model.safetensors", "config.json", "prepared/prepare_report.json")) {
            assertThat(Files.exists(folder.resolve("out").resolve(half)))
                    .as(half)
                    .isFalse();
        }
    }

    @Test
    void preparesAgainWhenAPreparedFileIsDamaged() throws IOException {
        JobRun.of(arguments("", "prepare")).succeeded();
        assertThat(JobRun.of(arguments("", "prepare")).succeeded().out()).contains("found prepared rows");
        Path shard = onlyArrowFile(folder.resolve("out/prepared/train"));
        byte[] whole = Files.readAllBytes(shard);
        byte[] damaged = whole.clone();
        damaged[damaged.length / 2] ^= 1;
        Files.write(shard, damaged);

        JobRun again = JobRun.of(arguments("", "prepare")).succeeded();

        assertThat(again.out()).contains("prepared rows: ").doesNotContain("found prepared rows");
        assertThat(Files.readAllBytes(onlyArrowFile(folder.resolve("out/prepared/train"))))
                .isEqualTo(whole);
    }

    @Test
    void refusesDamagedRowsThatItDidNotPrepare() throws IOException {
        Resources.copy("tokenized", folder.resolve("tokenized"));
        Path shard = onlyArrowFile(folder.resolve("tokenized/seq_lengths"));
        Files.write(shard, Arrays.copyOf(Files.readAllBytes(shard), 5000));

        JobRun run = JobRun.of(arguments("dataset= tokenized_path=FOLDER/tokenized/seq_lengths"
                + " model_name_or_path=FOLDER/tiny train_from_scratch=false"));

        expectRefusal(run, DATA, List.of("data-00000-of-00001.arrow", "damaged"));
    }

    @Test
    void refusesDynamicAllocationWithTheExitCodeOfConfig() throws Exception {
        List<String> arguments = List.of(arguments("num_ranks=1 sequence_parallel_size=1"));
        List<String> options = List.of("-Dspark.master=local[1]", "-Dspark.dynamicAllocation.enabled=true");

        try (JobProcess process = JobProcess.start(folder, options, arguments)) {
            JobRun run = process.await();

            assertThat(run.code()).isEqualTo(CONFIG);
            assertThat(run.err())
                    .contains("spark.dynamicAllocation.enabled is true")
                    .contains("set --conf spark.dynamicAllocation.enabled=false")
                    .doesNotContain("\tat ");
        }
    }

    @Test
    void storageProblemsHaveACodeOfTheirOwn() {
        JobRun run = JobRun.of(arguments("resume_from_checkpoint=FOLDER/no-checkpoint"));

        expectFailureOfStorage(run);
    }

    /** No file may grow beyond 32 KiB, which the rows of this data set need more than; the kernel refuses the rest. */
    @Test
    void saysThatADiskIsFullWhileRowsArePrepared() throws Exception {
        List<String> limit = List.of("sh", "-c", "ulimit -f 64 && exec \"$@\"", "sh");
        List<String> options = List.of("-Dspark.master=local[1]", "-XX:-UsePerfData");
        List<String> arguments = List.of(arguments("max_samples=1000", "prepare"));

        try (JobProcess process = JobProcess.start(limit, folder, options, arguments)) {
            JobRun run = process.await();

            assertThat(run.code()).as(run.err()).isEqualTo(STORAGE);
            assertThat(run.err())
                    .contains("rows can't be written to file:" + folder.resolve("out/prepared"))
                    .contains("File too large; a disk is full")
                    .contains("then run the same command again");
        }
        assertThat(JobRun.of(arguments("max_samples=1000", "prepare"))
                        .succeeded()
                        .out())
                .contains("prepared rows: ");
    }

    private static void expectFailureOfStorage(JobRun run) {
        assertThat(run.code()).as(run.err()).isEqualTo(STORAGE);
        assertThat(run.err()).contains("no-checkpoint").contains("use another checkpoint");
    }

    private static Path onlyArrowFile(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> file.toString().endsWith(".arrow"))
                    .findFirst()
                    .orElseThrow();
        }
    }

    private String[] arguments(String changes) {
        return arguments(changes, "train");
    }

    private String[] arguments(String changes, String command) {
        List<String> arguments = new ArrayList<>(List.of(
                command,
                Resources.yaml(folder.resolve("run.yaml"), """
                        stage: sft
                        do_train: true
                        finetuning_type: full
                        train_from_scratch: true
                        template: llama3
                        dataset: identity
                        max_samples: 8
                        cutoff_len: 256
                        sequence_parallel_size: 2
                        num_ranks: 2
                        per_device_train_batch_size: 1
                        max_steps: 6
                        learning_rate: 1.0e-3
                        logging_steps: 1
                        save_strategy: 'no'
                        """),
                "model_name_or_path=" + folder.resolve("model"),
                "dataset_dir=" + folder.resolve("data"),
                "output_dir=" + folder.resolve("out")));
        Stream.of(changes.replace("FOLDER", folder.toString()).split(" "))
                .filter(change -> !change.isEmpty())
                .forEach(arguments::add);
        return arguments.toArray(String[]::new);
    }
}
