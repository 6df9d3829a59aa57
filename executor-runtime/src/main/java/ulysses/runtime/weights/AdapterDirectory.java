package ulysses.runtime.weights;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.hadoop.conf.Configuration;

/** A folder that PEFT wrote or can load: {@code adapter_config.json} and {@code adapter_model.safetensors} or {@code .bin}. */
public final class AdapterDirectory {
    /** The file that describes the adapter. */
    public static final String CONFIG = "adapter_config.json";

    /** The file that holds its tensors. */
    public static final String WEIGHTS = "adapter_model.safetensors";

    private static final String TORCH_WEIGHTS = "adapter_model.bin";

    /** The files that may hold its tensors; the first that is there does. */
    public static final List<String> WEIGHT_FILES = List.of(WEIGHTS, TORCH_WEIGHTS);

    /** Ours, where the model was changed before the adapter was trained: the adapters that were merged into it, in order. */
    public static final String MERGED = "merged_adapters.json";

    /** Fields that change what an adapter computes; they must be absent, null, false, 0, empty or what stands here. */
    private static final Map<String, String> PLAIN = new TreeMap<>(Map.ofEntries(
            Map.entry("alora_invocation_tokens", ""),
            Map.entry("alpha_pattern", ""),
            Map.entry("arrow_config", ""),
            Map.entry("bias", "none"),
            Map.entry("exclude_modules", ""),
            Map.entry("fan_in_fan_out", ""),
            Map.entry("kasa_config", ""),
            Map.entry("layer_replication", ""),
            Map.entry("layers_to_transform", ""),
            Map.entry("lora_bias", ""),
            Map.entry("monteclora_config", ""),
            Map.entry("rank_pattern", ""),
            Map.entry("target_parameters", ""),
            Map.entry("trainable_token_indices", ""),
            Map.entry("use_bdlora", ""),
            Map.entry("use_dora", ""),
            Map.entry("use_qalora", "")));

    private static final ObjectMapper JSON = new ObjectMapper();

    private final Folder folder;
    private final LoraSpec spec;
    private final Origin origin;

    private AdapterDirectory(Folder folder, LoraSpec spec, Origin origin) {
        this.folder = folder;
        this.spec = spec;
        this.origin = origin;
    }

    /**
     * What an adapter was trained beside.
     *
     * @param model {@code base_model_name_or_path}; empty when it is not named
     * @param merged adapters that were merged into the model before, in order
     */
    public record Origin(String model, List<String> merged) {
        public Origin {
            merged = List.copyOf(merged);
        }
    }

    /** Opens the folder that {@code adapter_name_or_path} names; throws {@link WeightsException} when it is no adapter of ours. */
    public static AdapterDirectory open(String path, Configuration configuration) {
        Folder folder = Folder.at(path, configuration);
        if (!folder.exists()) {
            throw new WeightsException(
                    "adapter_name_or_path %s: there is no folder %s; check the path".formatted(path, folder.path()));
        }
        return open(folder);
    }

    /** Opens a folder that exists. */
    public static AdapterDirectory open(Folder folder) {
        if (!folder.has(CONFIG)) {
            throw new WeightsException(
                    "%s holds no %s; point adapter_name_or_path at the folder of a PEFT adapter, such as the output_dir of a LoRA run"
                            .formatted(folder.path(), CONFIG));
        }
        if (!hasWeights(folder)) {
            throw new WeightsException(
                    "%s holds no %s and no %s; copy it there".formatted(folder.path(), WEIGHTS, TORCH_WEIGHTS));
        }
        return parsed(folder, folder.readText(CONFIG));
    }

    /** Whether {@code folder} holds the tensors of an adapter. */
    public static boolean hasWeights(Folder folder) {
        return WEIGHT_FILES.stream().anyMatch(folder::has);
    }

    private static AdapterDirectory parsed(Folder folder, String json) {
        String path = folder.path(CONFIG);
        try {
            JsonNode config = JSON.readTree(json);
            if (!config.isObject() || !"LORA".equals(config.path("peft_type").asText())) {
                throw new WeightsException("%s has peft_type %s; only LORA is trained and merged"
                        .formatted(path, config.path("peft_type").asText("none")));
            }
            refuseVariants(config, path);
            return new AdapterDirectory(
                    folder,
                    spec(config, path),
                    new Origin(config.path("base_model_name_or_path").asText(""), merged(folder)));
        } catch (JsonProcessingException e) {
            throw new WeightsException(
                    "%s is not valid JSON: %s; copy it again".formatted(path, e.getOriginalMessage()), e);
        }
    }

    private static void refuseVariants(JsonNode config, String path) {
        List<String> variants = new ArrayList<>();
        PLAIN.forEach((field, plain) -> {
            JsonNode value = config.path(field);
            boolean nothing = value.isMissingNode()
                    || value.isNull()
                    || (value.isContainerNode()
                            ? value.isEmpty()
                            : List.of("", "false", "0", plain).contains(value.asText()));
            if (!nothing) {
                variants.add(field + " " + value);
            }
        });
        if (!variants.isEmpty()) {
            throw new WeightsException(
                    "%s has %s, which is not supported; use a plain LoRA adapter, or merge this one into its model with PEFT"
                            .formatted(path, String.join(", ", variants)));
        }
    }

    private static LoraSpec spec(JsonNode config, String path) {
        if (!config.path("target_modules").isArray()) {
            throw new WeightsException(
                    "%s has target_modules %s, which is no list; write the names of the modules, such as [\"q_proj\", \"v_proj\"]"
                            .formatted(path, config.path("target_modules")));
        }
        int rank = config.path("r").asInt(0);
        if (rank < 1) {
            throw new WeightsException(
                    "%s has r %s, which is not at least 1; copy it again".formatted(path, config.path("r")));
        }
        return new LoraSpec(
                rank,
                config.path("lora_alpha").asInt(8), // PEFT's default
                config.path("lora_dropout").asDouble(0),
                config.path("use_rslora").asBoolean(false),
                texts(config.path("target_modules")),
                texts(config.path("modules_to_save")));
    }

    private static List<String> merged(Folder folder) throws JsonProcessingException {
        List<String> merged = new ArrayList<>();
        if (folder.has(MERGED)) {
            JSON.readTree(folder.readText(MERGED)).forEach(path -> merged.add(path.asText()));
        }
        return merged;
    }

    private static List<String> texts(JsonNode list) {
        List<String> texts = new ArrayList<>();
        list.forEach(element -> texts.add(element.asText()));
        return texts.stream().sorted().toList();
    }

    /** The folder itself. */
    public Folder folder() {
        return folder;
    }

    /** What adapter_config.json says. */
    public LoraSpec spec() {
        return spec;
    }

    /** What it was trained beside. */
    public Origin origin() {
        return origin;
    }

    /** Opens its tensors, checked to be those of an adapter of {@code model}; the caller closes the file. */
    public WeightFile weights(ModelSpec model) {
        WeightFile file = WeightFile.open(folder, folder.has(WEIGHTS) ? WEIGHTS : TORCH_WEIGHTS);
        try {
            check(file, model);
            return file;
        } catch (RuntimeException e) {
            file.close();
            throw e;
        }
    }

    private void check(WeightFile file, ModelSpec model) {
        List<String> wrong = new ArrayList<>();
        Map<String, WeightFile.TensorInfo> unexpected = new TreeMap<>(file.tensors());
        for (ParameterSpec parameter : spec.parameters(model)) {
            WeightFile.TensorInfo info = unexpected.remove(parameter.name());
            if (info == null) {
                wrong.add(parameter.name() + " is missing");
            } else if (!WeightIndex.fits(info, parameter)) {
                wrong.add(info + " should be " + parameter);
            }
        }
        unexpected.keySet().forEach(name -> wrong.add(name + " belongs to no module of the model"));
        if (!wrong.isEmpty()) {
            throw new WeightsException("%s is no adapter of this model: %s%s; use the model it was trained beside%s"
                    .formatted(
                            file.path(),
                            wrong.get(0),
                            wrong.size() > 1 ? " (and %d more)".formatted(wrong.size() - 1) : "",
                            origin.model().isEmpty() ? "" : ", " + origin.model()));
        }
    }

    /**
     * Writes an adapter into {@code target}, the file that makes it complete last.
     *
     * @param origin what it was trained beside
     * @param tensors all parameters of {@code spec}, under PEFT's names
     */
    public static void write(Folder target, LoraSpec spec, Origin origin, List<TensorData> tensors) {
        target.delete(CONFIG);
        target.delete(MERGED);
        SafetensorsFile.write(target, WEIGHTS, tensors);
        if (!origin.merged().isEmpty()) {
            target.write(
                    MERGED, JSON.valueToTree(origin.merged()).toPrettyString().getBytes(StandardCharsets.UTF_8));
        }
        target.write(CONFIG, configJson(spec, origin.model()).getBytes(StandardCharsets.UTF_8));
    }

    private static String configJson(LoraSpec spec, String baseModel) {
        ObjectNode config = JSON.createObjectNode();
        config.putObject("alpha_pattern");
        config.putNull("auto_mapping").put("base_model_name_or_path", baseModel).put("bias", "none");
        config.put("fan_in_fan_out", false).put("inference_mode", true).put("init_lora_weights", true);
        config.putNull("layer_replication").putNull("layers_pattern").putNull("layers_to_transform");
        config.putObject("loftq_config");
        config.put("lora_alpha", spec.alpha()).put("lora_bias", false).put("lora_dropout", spec.dropout());
        config.putNull("megatron_config").put("megatron_core", "megatron.core");
        if (spec.modulesToSave().isEmpty()) {
            config.putNull("modules_to_save");
        } else {
            spec.modulesToSave().forEach(config.putArray("modules_to_save")::add);
        }
        config.put("peft_type", "LORA").put("r", spec.rank());
        config.putObject("rank_pattern");
        config.putNull("revision");
        spec.targetModules().forEach(config.putArray("target_modules")::add);
        config.put("task_type", "CAUSAL_LM").put("use_dora", false).put("use_rslora", spec.rankStabilized());
        return config.toPrettyString() + "\n";
    }
}
