package ulysses.driver.fuzz;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointReader;
import ulysses.runtime.checkpoint.CheckpointStore;
import ulysses.runtime.checkpoint.CheckpointWriter;
import ulysses.runtime.checkpoint.StateTensor;
import ulysses.runtime.checkpoint.TrainState;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.data.PackedDataset;
import ulysses.runtime.data.PackedDatasetWriter;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.PackedShardWriter;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.AdapterDirectory;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.SafetensorsFile;
import ulysses.runtime.weights.TensorData;
import ulysses.runtime.weights.TorchPickleFile;
import ulysses.runtime.weights.WeightFile;
import ulysses.runtime.weights.WeightIndex;
import ulysses.runtime.weights.WrittenFile;

/** Readers of what a rank reads, or the driver for it: configuration, weights, rows, checkpoints. */
final class RankReaders {
    private static final Configuration LOCAL = new Configuration(false);
    private static final String MODEL = """
            {"model_type": "llama", "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,
             "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 8, "torch_dtype": "float32",
             "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
             "original_max_position_embeddings": 32}, "max_position_embeddings": 256, "rope_theta": 500000.0}""";
    private static final String ADAPTER = """
            {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"],
             "use_rslora": false, "modules_to_save": null, "base_model_name_or_path": "model", "bias": "none"}""";
    private static final String DEEP_SPEED = """
            {"train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": 2,
             "gradient_clipping": 1.0, "zero_allow_untested_optimizer": true, "fp16": {"enabled": "auto", "loss_scale": 0},
             "bf16": {"enabled": true}, "zero_optimization": {"stage": 2, "overlap_comm": false,
             "offload_optimizer": {"device": "none"}, "reduce_bucket_size": 5e8}, "steps_per_print": 10}""";
    private static final String YAML = """
            stage: sft
            do_train: true
            finetuning_type: lora
            lora_rank: 8
            lora_target: all
            model_name_or_path: %s
            dataset: a,b
            cutoff_len: 256
            template: llama3
            learning_rate: 1.0e-4
            num_train_epochs: 2.0
            lr_scheduler_type: cosine
            sequence_parallel_size: 2
            save_steps: 4
            deepspeed: {"zero_optimization": {"stage": 0}, "train_batch_size": "auto"}
            output_dir: out
            """;

    private final Folder root;
    private final Path folder;

    private RankReaders(Path folder) {
        this.folder = folder;
        this.root = Folder.at(folder.toString(), LOCAL);
    }

    /** All of them, with valid files in {@code folder}. */
    static List<FuzzedReader> in(Path folder) throws IOException {
        RankReaders readers = new RankReaders(folder);
        List<FuzzedReader> all = new ArrayList<>(readers.weights());
        all.addAll(readers.pickles());
        all.addAll(readers.rows());
        all.addAll(readers.checkpoint());
        all.addAll(readers.configuration());
        return all;
    }

    private List<FuzzedReader> configuration() throws IOException {
        Path yaml = Files.writeString(file("run.yaml"), YAML.formatted(file("model")));
        Path deepSpeed = Files.writeString(file("ds.json"), DEEP_SPEED);
        Path withDeepSpeed = Files.writeString(
                file("ds.yaml"),
                YAML.formatted(file("model")).replaceFirst("(?m)^deepspeed:.*$", "deepspeed: ds.json"));
        String besides = deepSpeed.getParent().toString();
        Files.writeString(withDeepSpeed, Files.readString(withDeepSpeed).replace("ds.json", besides + "/ds.json"));
        return List.of(
                FuzzedReader.text("YAML", yaml, () -> load(yaml)),
                FuzzedReader.text("DeepSpeed JSON", deepSpeed, () -> load(withDeepSpeed)));
    }

    private static void load(Path yaml) {
        ConfigFile.load(ConfigFile.Sources.ofFile(yaml.toString()), LOCAL);
    }

    /** What torch.save wrote: an archive and a stream. */
    private List<FuzzedReader> pickles() throws IOException {
        Path recorded = Path.of("..", "executor-runtime", "src", "test", "resources", "weights", "torch");
        Folder torch = root.folder("torch");
        List<FuzzedReader> readers = new ArrayList<>();
        for (String name : List.of("views.bin", "stream.bin")) {
            torch.write(name, Files.readAllBytes(recorded.resolve(name)));
            readers.add(
                    FuzzedReader.binary(name, file("torch/" + name), () -> readAll(TorchPickleFile.open(torch, name))));
        }
        return readers;
    }

    private List<FuzzedReader> weights() throws IOException {
        Folder model = root.folder("model");
        model.write("config.json", MODEL.getBytes(StandardCharsets.UTF_8));
        model.write("tokenizer.json", "{}".getBytes(StandardCharsets.UTF_8));
        List<ParameterSpec> parameters = ModelDirectory.open(model).spec().parameters();
        SafetensorsFile.write(
                model,
                "model.safetensors",
                parameters.stream().map(RankReaders::zeros).toList());
        Folder shards = root.folder("shards");
        shards.write("config.json", MODEL.getBytes(StandardCharsets.UTF_8));
        java.util.Map<String, String> map = new java.util.TreeMap<>();
        for (int i = 0; i < parameters.size(); i++) {
            String name = "model-%d.safetensors".formatted(i % 2);
            map.put(parameters.get(i).name(), name);
        }
        for (int shard = 0; shard < 2; shard++) {
            String name = "model-%d.safetensors".formatted(shard);
            SafetensorsFile.write(
                    shards,
                    name,
                    parameters.stream()
                            .filter(parameter -> name.equals(map.get(parameter.name())))
                            .map(RankReaders::zeros)
                            .toList());
        }
        shards.write(WeightIndex.INDEX_FILE, WeightIndex.toJson(map, 1000).getBytes(StandardCharsets.UTF_8));
        Folder adapter = root.folder("adapter");
        adapter.write(AdapterDirectory.CONFIG, ADAPTER.getBytes(StandardCharsets.UTF_8));
        adapter.write(AdapterDirectory.WEIGHTS, new byte[0]);
        return List.of(
                FuzzedReader.binary(
                        "safetensors",
                        file("model/model.safetensors"),
                        () -> readAll(SafetensorsFile.open(model, "model.safetensors"))),
                FuzzedReader.text(
                        "weight index",
                        file("shards/" + WeightIndex.INDEX_FILE),
                        () -> WeightIndex.open(shards).close()),
                FuzzedReader.text(
                        "model config.json",
                        file("shards/config.json"),
                        () -> ModelDirectory.open(shards).spec().parameterCount()),
                FuzzedReader.text(
                        "adapter_config.json",
                        file("adapter/" + AdapterDirectory.CONFIG),
                        () -> AdapterDirectory.open(adapter)));
    }

    private static void readAll(WeightFile opened) {
        try (WeightFile file = opened) {
            for (WeightFile.TensorInfo tensor : file.tensors().values()) {
                ByteBuffer bytes = ByteBuffer.allocate((int) Math.min(4096, tensor.byteLength()));
                file.read(tensor.name(), 0, bytes);
            }
        }
    }

    private static TensorData zeros(ParameterSpec parameter) {
        return TensorData.of(
                parameter.name(),
                DataType.F32,
                parameter.shape(),
                ByteBuffer.allocate((int) parameter.elements() * Float.BYTES));
    }

    private Path file(String name) {
        return folder.resolve(name);
    }

    private List<FuzzedReader> rows() throws IOException {
        List<PackedRow> rows = new ArrayList<>();
        for (int length = 1; length < 12; length++) {
            int[] ids = new int[length];
            java.util.Arrays.setAll(ids, i -> i % 8);
            rows.add(new PackedRow(ids, ids.clone(), length < 3 ? new int[] {length} : new int[] {2, length - 2}));
        }
        writeRows("rows", rows);
        writeRows("foreign", rows); // as another program leaves them: nothing vouches for a byte
        root.folder("foreign").delete("MANIFEST.json");
        root.folder("foreign").delete("row_counts.bin");
        FuzzedReader.Read foreign = () -> readRows("foreign");
        FuzzedReader.Read ours = () -> readRows("rows");
        return List.of(
                FuzzedReader.binary("shard", shard("foreign"), foreign),
                FuzzedReader.text("state.json", file("foreign/state.json"), foreign),
                FuzzedReader.binary("shard, ours", shard("rows"), ours),
                FuzzedReader.text("rows manifest", file("rows/MANIFEST.json"), ours),
                FuzzedReader.binary("row_counts.bin", file("rows/row_counts.bin"), ours));
    }

    private Path shard(String name) throws IOException {
        try (Stream<Path> files = Files.list(file(name))) {
            return files.filter(path -> path.toString().endsWith(".arrow"))
                    .findFirst()
                    .orElseThrow();
        }
    }

    private void writeRows(String name, List<PackedRow> rows) throws IOException {
        PackedDatasetWriter writer = PackedDatasetWriter.of(file(name).toString(), LOCAL);
        String shard = PackedDatasetWriter.shardName(0, 1);
        try (PackedShardWriter out = writer.shard(shard)) {
            for (PackedRow row : rows) {
                out.add(row);
            }
            writer.commit(
                    List.of(new PackedDatasetWriter.Shard(shard, out.finish())),
                    new PackedDatasetWriter.Origin(16, "none", PackedDataset.Content.TEXTS, "", "rows"));
        }
    }

    private void readRows(String name) throws IOException {
        try (PackedDataset dataset = PackedDataset.open(file(name).toString(), file("scratch"), LOCAL, 8)) {
            for (long row = 0; row < Math.min(100, dataset.rows()); row++) {
                dataset.row(row);
            }
        }
    }

    private List<FuzzedReader> checkpoint() throws IOException {
        ModelDirectory model = ModelDirectory.open(root.folder("model"));
        CheckpointStore store = new CheckpointStore(root.folder("out"));
        CheckpointWriter writer = new CheckpointWriter(store, 1, "run", new RankMesh(1, 1));
        List<TensorData> weights =
                model.spec().parameters().stream().map(RankReaders::zeros).toList();
        List<TensorData> states = List.of(TensorData.of(
                StateTensor.slice(StateTensor.EXP_AVG, "model.norm.weight", 0).name(),
                DataType.F32,
                new long[] {4},
                ByteBuffer.allocate(16)));
        List<WrittenFile> files = writer.writeRank(7, 0, weights, states);
        TrainState state = new TrainState(7, 1, 1, 1, 1, 1, 1, 1, "c", "d", 0);
        Checkpoint saved = writer.commit(files, state, "{}", model, model.spec());
        Path optimizer = file("out/checkpoint-7")
                .resolve(files.stream()
                        .map(WrittenFile::name)
                        .filter(name -> name.contains("optimizer"))
                        .findFirst()
                        .orElseThrow());
        FuzzedReader.Read checked = () -> Checkpoint.open(saved.folder(), Checkpoint.Check.CHECKSUMS);
        return List.of(
                FuzzedReader.text("checkpoint manifest", file("out/checkpoint-7/MANIFEST.json"), checked),
                FuzzedReader.binary("checkpoint file", optimizer, checked),
                FuzzedReader.binary("checkpoint tensors", optimizer, () -> readStates(saved)));
    }

    /** Without a look at checksums first. */
    private static void readStates(Checkpoint saved) {
        try (CheckpointReader reader = CheckpointReader.open(saved)) {
            for (String name : reader.states()) {
                for (String parameter : reader.parameters(name)) {
                    int elements = (int) Math.min(64, reader.elements(name, parameter));
                    reader.read(
                            name,
                            parameter,
                            0,
                            ByteBuffer.allocate(
                                    elements * reader.type(name, parameter).bytes()));
                }
            }
        }
    }
}
