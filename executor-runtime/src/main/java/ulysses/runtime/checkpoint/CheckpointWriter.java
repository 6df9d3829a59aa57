package ulysses.runtime.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Consumer;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.AdapterDirectory;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.LoraSpec;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.SafetensorsFile;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.TensorData;
import ulysses.runtime.weights.WeightFile;
import ulysses.runtime.weights.WeightIndex;
import ulysses.runtime.weights.WrittenFile;

/**
 * Writes the checkpoints of one attempt: every rank its tensors and a list of them, then rank 0 all the rest and the manifest. Blocks
 * its caller; makes no thread and needs no word between ranks but what lies in the folder. Throws {@link StorageException} when the file system can't.
 */
public final class CheckpointWriter {
    static final String TRAINER_STATE = "trainer_state.json";

    private static final String WEIGHTS = "model";
    static final String STATES = "optimizer";
    private static final ObjectMapper JSON = new ObjectMapper();

    private final CheckpointStore store;
    private final int attempt;
    private final String attemptFolder;
    private final RankMesh mesh;

    /**
     * A writer for this attempt.
     *
     * @param attempt number of the attempt, from 1
     * @param runId tells this run's attempts from those of other runs in the same folder
     * @param mesh all ranks
     */
    public CheckpointWriter(CheckpointStore store, int attempt, String runId, RankMesh mesh) {
        this.store = store;
        this.attempt = attempt;
        this.attemptFolder = CheckpointStore.attemptFolder(attempt, runId);
        this.mesh = mesh;
    }

    /**
     * Writes the tensors of one rank; called by every rank, in any order. Together the ranks write every weight exactly once.
     *
     * @param model whole weights under their Hugging Face names
     * @param optimizer states named by {@link StateTensor}; none where only the model is saved
     * @return what was written, for {@link #commit}
     */
    public List<WrittenFile> writeRank(long step, int rank, List<TensorData> model, List<TensorData> optimizer) {
        List<WrittenFile> files = new ArrayList<>();
        write(step, rank, WEIGHTS, model, files);
        write(step, rank, STATES, optimizer, files);
        attempt(step).write(list(rank), toJson(files));
        return files;
    }

    private Folder attempt(long step) {
        return store.folder(step).folder(attemptFolder);
    }

    /** Says what a rank has written; its last file. */
    private String list(int rank) {
        return "rank%05d-of-%05d.json".formatted(rank, mesh.worldSize());
    }

    /** Looks for what all ranks have written for {@code step}, for {@link #commit}. Needs no other rank. */
    public Gathering gathering(long step) {
        return new Gathering(attempt(step));
    }

    /** What was seen of the ranks' lists so far, in order of ranks: none is read twice. For one thread. */
    public final class Gathering {
        private final Folder folder;
        private final List<WrittenFile> files = new ArrayList<>();
        private int ranks;

        private Gathering(Folder folder) {
            this.folder = folder;
        }

        /** All that was written; empty while a rank has not finished. */
        public Optional<List<WrittenFile>> look() {
            while (ranks < mesh.worldSize()) {
                Optional<List<WrittenFile>> ofRank = listed(folder, list(ranks));
                if (ofRank.isEmpty()) {
                    return Optional.empty();
                }
                files.addAll(ofRank.get());
                ranks++;
            }
            return Optional.of(List.copyOf(files));
        }
    }

    /** A list that is not whole is one that is being written. */
    private static Optional<List<WrittenFile>> listed(Folder folder, String name) {
        if (!folder.has(name)) {
            return Optional.empty();
        }
        try {
            return Optional.of(JSON.readValue(folder.read(name), new TypeReference<>() {}));
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    private static byte[] toJson(List<WrittenFile> files) {
        try {
            return JSON.writeValueAsBytes(files);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("files can't be written as JSON", e);
        }
    }

    private void write(long step, int rank, String kind, List<TensorData> tensors, List<WrittenFile> files) {
        if (!tensors.isEmpty()) {
            String name = "%s-rank%05d-of-%05d.safetensors".formatted(kind, rank, mesh.worldSize());
            files.add(SafetensorsFile.write(attempt(step), name, tensors).in(attemptFolder));
        }
    }

    /**
     * Makes the checkpoint complete; called by rank 0 after every rank has written. The folder is then also a model folder that
     * transformers loads.
     *
     * @param files what all ranks wrote
     * @param state where the run stands
     * @param trainerStateJson {@code trainer_state.json}
     * @param source the model that training started from
     * @param spec the model as it is trained
     */
    public Checkpoint commit(
            List<WrittenFile> files, TrainState state, String trainerStateJson, ModelDirectory source, ModelSpec spec) {
        return commit(files, state, trainerStateJson, folder -> writeModelFiles(folder, files, source, spec));
    }

    /**
     * The same for an adapter; the folder is then also one that PEFT loads.
     *
     * @param origin what it is trained beside
     */
    public Checkpoint commitAdapter(
            List<WrittenFile> files,
            TrainState state,
            String trainerStateJson,
            LoraSpec adapter,
            AdapterDirectory.Origin origin) {
        return commit(files, state, trainerStateJson, folder -> writeAdapterFiles(folder, files, adapter, origin));
    }

    private Checkpoint commit(
            List<WrittenFile> files, TrainState state, String trainerStateJson, Consumer<Folder> modelFiles) {
        Folder folder = store.folder(state.step());
        store.refuseCommitted(state.step(), attemptFolder);
        checkPresent(folder, files);
        byte[] trainerState = trainerStateJson.getBytes(StandardCharsets.UTF_8);
        List<WrittenFile> all = new ArrayList<>(files);
        all.add(folder.folder(attemptFolder).write(TRAINER_STATE, trainerState).in(attemptFolder));
        modelFiles.accept(folder);
        folder.write(TRAINER_STATE, trainerState);
        return store.commit(new CheckpointManifest(attempt, attemptFolder, mesh, all, state));
    }

    /** Asks for the whole folder, not for each of thousands of files. */
    private void checkPresent(Folder folder, List<WrittenFile> files) {
        Map<String, Long> lengths = new HashMap<>();
        folder.folder(attemptFolder).list().stream()
                .filter(entry -> !entry.isFolder())
                .forEach(entry -> lengths.put(attemptFolder + "/" + entry.name(), entry.length()));
        for (WrittenFile file : files) {
            Long length = lengths.get(file.name());
            if (length == null || length != file.length()) {
                throw new StorageException(
                        "%s should have %d bytes but has %s; check that all ranks see the same file system"
                                .formatted(folder.path(file.name()), file.length(), length == null ? "none" : length));
            }
        }
    }

    /** Of a rank's two files the first one. */
    private static List<WrittenFile> holdingWeights(List<WrittenFile> files) {
        return files.stream()
                .filter(file -> file.name().contains("/" + WEIGHTS + "-rank"))
                .toList();
    }

    /** PEFT reads one file, so the adapter's tensors, which are small, are copied from the files of all ranks. */
    private static void writeAdapterFiles(
            Folder folder, List<WrittenFile> files, LoraSpec adapter, AdapterDirectory.Origin origin) {
        List<SafetensorsFile> opened = new ArrayList<>();
        try {
            List<TensorData> tensors = new ArrayList<>();
            for (WrittenFile file : holdingWeights(files)) {
                SafetensorsFile ofRank = SafetensorsFile.open(folder, file.name());
                opened.add(ofRank);
                ofRank.names().stream()
                        .filter(name -> StateTensor.parse(name).state().equals(StateTensor.MODEL))
                        .forEach(name -> tensors.add(ofRank.data(name)));
            }
            AdapterDirectory.write(folder, adapter, origin, tensors);
        } finally {
            opened.forEach(SafetensorsFile::close);
        }
    }

    /** INVARIANT: the index names every weight once; two ranks that wrote the same one is a mistake of theirs. */
    private static void writeModelFiles(Folder folder, List<WrittenFile> files, ModelDirectory source, ModelSpec spec) {
        Map<String, String> weightMap = new TreeMap<>();
        long bytes = 0;
        DataType type = DataType.F32;
        for (WrittenFile file : holdingWeights(files)) {
            try (SafetensorsFile tensors = SafetensorsFile.open(folder, file.name())) {
                for (WeightFile.TensorInfo tensor : tensors.tensors().values()) {
                    if (!StateTensor.parse(tensor.name()).state().equals(StateTensor.MODEL)) {
                        continue;
                    }
                    if (weightMap.put(tensor.name(), file.name()) != null) {
                        throw new IllegalArgumentException("two ranks wrote the weight " + tensor.name());
                    }
                    bytes += tensor.byteLength();
                    type = tensor.type();
                }
            }
        }
        folder.write(ModelDirectory.CONFIG, source.configFor(spec, type).getBytes(StandardCharsets.UTF_8));
        source.copyCompanionsTo(folder);
        folder.write(
                WeightIndex.INDEX_FILE, WeightIndex.toJson(weightMap, bytes).getBytes(StandardCharsets.UTF_8));
    }
}
