package ulysses.runtime.weights;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Predicate;

/**
 * The weights of a model folder, in one file or in several with an index: tensor name to file and range. Safetensors are taken where they
 * are, else what torch.save wrote.
 */
public final class WeightIndex implements FloatWeights, AutoCloseable {
    /** The file of a model that is not split. */
    public static final String SINGLE_FILE = "model.safetensors";

    /** The index of a model that is split. */
    public static final String INDEX_FILE = "model.safetensors.index.json";

    private static final String TORCH_FILE = "pytorch_model.bin";
    private static final String TORCH_INDEX_FILE = TORCH_FILE + ".index.json";
    private static final int NAMES_IN_MESSAGE = 8; // enough to see the pattern, few enough to read

    private final Folder folder;
    private final Map<String, WeightFile> fileOfTensor = new TreeMap<>();
    private final List<WeightFile> files = new ArrayList<>();

    private WeightIndex(Folder folder) {
        this.folder = folder;
    }

    /** Opens all weight files of {@code folder} and checks their headers against the index. */
    public static WeightIndex open(Folder folder) {
        WeightIndex index = new WeightIndex(folder);
        try {
            String first = firstOf(folder::has).orElseThrow(() -> new WeightsException(nothingToOpen(folder)));
            if (first.equals(SINGLE_FILE) || first.equals(TORCH_FILE)) {
                WeightFile file = index.openFile(first);
                file.tensors().keySet().forEach(name -> index.fileOfTensor.put(name, file));
            } else {
                index.openIndexed(first);
            }
            return index;
        } catch (RuntimeException e) {
            index.close();
            throw e;
        }
    }

    /** Which file a model is opened by, of those that {@code isThere}: one with all weights, or the index of several. */
    public static Optional<String> firstOf(Predicate<String> isThere) {
        return List.of(SINGLE_FILE, INDEX_FILE, TORCH_FILE, TORCH_INDEX_FILE).stream()
                .filter(isThere)
                .findFirst();
    }

    /** The files that {@link #open} needs of {@code folder}, whether or not they are there; empty when it holds neither weights nor index. */
    public static List<String> fileNames(Folder folder) {
        Optional<String> first = firstOf(folder::has);
        if (first.isEmpty() || !first.get().endsWith(".json")) {
            return first.stream().toList();
        }
        return weightMap(folder, first.get()).values().stream().distinct().toList();
    }

    private static String nothingToOpen(Folder folder) {
        return "%s holds no weights (%s or %s, nor %s); copy them there, or set train_from_scratch: true for random ones"
                .formatted(folder.path(), SINGLE_FILE, INDEX_FILE, TORCH_FILE);
    }

    private static Map<String, String> weightMap(Folder folder, String indexFile) {
        String path = folder.path(indexFile);
        JsonNode map;
        try {
            map = new ObjectMapper().readTree(folder.readText(indexFile)).path("weight_map");
        } catch (JsonProcessingException e) {
            throw new WeightsException(
                    "%s is not valid JSON: %s; copy or download it again".formatted(path, e.getOriginalMessage()), e);
        }
        if (!map.isObject() || map.isEmpty()) {
            throw new WeightsException("%s has no weight_map; copy or download it again".formatted(path));
        }
        Map<String, String> fileNames = new LinkedHashMap<>();
        map.properties().forEach(entry -> {
            String file = entry.getValue().asText();
            if (file.isEmpty()
                    || file.startsWith("/")
                    || file.contains(":")
                    || List.of(file.split("/")).contains("..")) {
                throw new WeightsException("%s names the file '%s' for %s; only files inside the folder are read"
                        .formatted(path, file, entry.getKey()));
            }
            fileNames.put(entry.getKey(), file);
        });
        return fileNames;
    }

    private void openIndexed(String indexFile) {
        Map<String, WeightFile> opened = new LinkedHashMap<>();
        weightMap(folder, indexFile).forEach((tensor, name) -> {
            WeightFile file = opened.get(name);
            if (file == null) {
                if (!folder.has(name)) {
                    throw new WeightsException("%s names the file %s, which is not there; copy or download it"
                            .formatted(folder.path(indexFile), name));
                }
                file = openFile(name);
                opened.put(name, file);
            }
            if (!file.tensors().containsKey(tensor)) {
                throw new WeightsException(
                        "%s says that %s lies in %s, but it is not there; copy or download both again"
                                .formatted(folder.path(indexFile), tensor, name));
            }
            fileOfTensor.put(tensor, file);
        });
    }

    private WeightFile openFile(String name) {
        WeightFile file = WeightFile.open(folder, name);
        files.add(file);
        return file;
    }

    /** The text of {@link #INDEX_FILE}: which file holds which tensor, and the bytes of all tensors. */
    public static String toJson(Map<String, String> weightMap, long totalBytes) {
        ObjectNode index = new ObjectMapper().createObjectNode();
        index.putObject("metadata").put("total_size", totalBytes);
        ObjectNode map = index.putObject("weight_map");
        new TreeMap<>(weightMap).forEach(map::put);
        return index.toPrettyString() + "\n";
    }

    /** Names of all tensors, sorted. */
    public List<String> names() {
        return List.copyOf(fileOfTensor.keySet());
    }

    /**
     * Refuses weights that are not those of {@code spec}: missing, unexpected or misshaped tensors, all named. Old files' {@code
     * rotary_emb.inv_freq} and a copy of a tied head are left aside.
     */
    public void check(ModelSpec spec) {
        List<String> missing = new ArrayList<>();
        List<String> misshaped = new ArrayList<>();
        Set<String> expected = new HashSet<>();
        for (ParameterSpec parameter : spec.parameters()) {
            String stored = storedName(parameter.name());
            expected.add(stored);
            if (!fileOfTensor.containsKey(stored) || (!spec.tiedHead() && !stored.equals(parameter.name()))) {
                missing.add(parameter.name());
            } else if (!fits(info(stored), parameter)) {
                misshaped.add("%s instead of %s".formatted(info(stored), Arrays.toString(parameter.shape())));
            }
        }
        List<String> unexpected = fileOfTensor.keySet().stream()
                .filter(name -> !expected.contains(name) && !leftAside(name, spec))
                .toList();
        if (missing.isEmpty() && misshaped.isEmpty() && unexpected.isEmpty()) {
            return;
        }
        throw new WeightsException(
                "%s: the weights are not those of its config.json;%s%s%s take both from the same model"
                        .formatted(
                                folder.path(),
                                listed(" missing: ", missing),
                                listed(" wrong shape or type: ", misshaped),
                                listed(" unexpected: ", unexpected)));
    }

    static boolean fits(WeightFile.TensorInfo info, ParameterSpec parameter) {
        return info.type().floating() && info.type() != DataType.F64 && Arrays.equals(info.shape(), parameter.shape());
    }

    private static boolean leftAside(String name, ModelSpec spec) {
        return name.endsWith(".rotary_emb.inv_freq") || (spec.tiedHead() && name.equals(ModelSpec.HEAD));
    }

    private static String listed(String title, List<String> names) {
        if (names.isEmpty()) {
            return "";
        }
        String shown = String.join(", ", names.subList(0, Math.min(NAMES_IN_MESSAGE, names.size())));
        int more = names.size() - NAMES_IN_MESSAGE;
        return title + shown + (more > 0 ? " and %d more;".formatted(more) : ";");
    }

    /** A tied model may be stored under the head's name alone. */
    private String storedName(String name) {
        boolean onlyHead = name.equals(ModelSpec.EMBEDDING)
                && !fileOfTensor.containsKey(name)
                && fileOfTensor.containsKey(ModelSpec.HEAD);
        return onlyHead ? ModelSpec.HEAD : name;
    }

    /** What the tensor {@code name} is. */
    public WeightFile.TensorInfo info(String name) {
        return fileOf(name).info(storedName(name));
    }

    /** Fills {@code into} up to its limit with bytes of the tensor, from its byte {@code byteOffset} on. */
    public void read(String name, long byteOffset, ByteBuffer into) {
        fileOf(name).read(storedName(name), byteOffset, into);
    }

    /** Widened exactly. */
    @Override
    public void readFloat32(String name, long firstElement, ByteBuffer into) {
        fileOf(name).readFloat32(storedName(name), firstElement, into);
    }

    /** The tensor as it is stored, for writing elsewhere. */
    public TensorData data(String name) {
        return fileOf(name).data(storedName(name));
    }

    private WeightFile fileOf(String name) {
        WeightFile file = fileOfTensor.get(storedName(name));
        if (file == null) {
            throw new WeightsException("%s holds no tensor %s; check that config.json and weights belong together"
                    .formatted(folder.path(), name));
        }
        return file;
    }

    @Override
    public void close() {
        files.forEach(WeightFile::close);
        files.clear();
    }
}
