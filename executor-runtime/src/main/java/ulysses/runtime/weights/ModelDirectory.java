package ulysses.runtime.weights;

import java.util.List;
import org.apache.hadoop.conf.Configuration;

/** A Hugging Face model folder, {@code model_name_or_path}, on local disk or any Hadoop file system. */
public final class ModelDirectory {
    /** The file that describes the model. */
    public static final String CONFIG = "config.json";

    /** The file that holds the tokenizer. */
    public static final String TOKENIZER = "tokenizer.json";

    private static final String GENERATION = "generation_config.json";

    /** Files that a finished model takes along from the one it started from, where they are. */
    public static final List<String> COMPANIONS = List.of(
            GENERATION,
            TOKENIZER,
            "tokenizer_config.json",
            "special_tokens_map.json",
            "added_tokens.json",
            "vocab.json",
            "merges.txt",
            "tokenizer.model",
            "chat_template.jinja");

    private final Folder folder;
    private final String configJson;
    private final ModelSpec spec;

    private ModelDirectory(Folder folder, String configJson, ModelSpec spec) {
        this.folder = folder;
        this.configJson = configJson;
        this.spec = spec;
    }

    /** Opens the folder and reads its config.json; throws {@link WeightsException} when it is no model that can be trained. */
    public static ModelDirectory open(String nameOrPath, Configuration configuration) {
        Folder folder = Folder.at(nameOrPath, configuration);
        if (!folder.exists()) {
            throw new WeightsException(missing(nameOrPath, folder.path()));
        }
        return open(folder);
    }

    /** Opens a folder that exists. */
    public static ModelDirectory open(Folder folder) {
        if (!folder.has(CONFIG)) {
            throw new WeightsException("%s holds no %s; point model_name_or_path at the folder of a Hugging Face model"
                    .formatted(folder.path(), CONFIG));
        }
        String json = folder.readText(CONFIG);
        return new ModelDirectory(folder, json, ModelSpec.parse(json, folder.path(CONFIG)));
    }

    private static String missing(String nameOrPath, String path) {
        return "model_name_or_path %s: there is no folder %s; check the path".formatted(nameOrPath, path);
    }

    /** The folder itself. */
    public Folder folder() {
        return folder;
    }

    /** What config.json says. */
    public ModelSpec spec() {
        return spec;
    }

    /** The text of config.json. */
    public String configJson() {
        return configJson;
    }

    /**
     * The text of config.json for weights of {@code type} that were trained as {@code spec}: all fields of the original stay, but
     * for the type and for the rotary scaling where that was changed.
     */
    public String configFor(ModelSpec trained, DataType type) {
        return ModelConfigWriter.write(configJson, trained, type);
    }

    /** Opens the weights, checked against config.json. */
    public WeightIndex weights() {
        WeightIndex index = WeightIndex.open(folder);
        try {
            index.check(spec);
            return index;
        } catch (RuntimeException e) {
            index.close();
            throw e;
        }
    }

    /** Which of {@link #COMPANIONS} are here. */
    public List<String> companions() {
        return COMPANIONS.stream().filter(folder::has).toList();
    }

    /** Copies all {@link #companions()} into {@code target}. */
    public void copyCompanionsTo(Folder target) {
        companions().forEach(name -> target.write(name, folder.read(name)));
    }

    /** Copies those of {@link #companions()} that belong to the tokenizer into {@code target}: what an adapter takes along. */
    public void copyTokenizerTo(Folder target) {
        companions().stream()
                .filter(name -> !name.equals(GENERATION))
                .forEach(name -> target.write(name, folder.read(name)));
    }

    /** The file {@code name} on local disk: itself when the folder is there, else a copy in {@code scratch}. */
    public java.nio.file.Path localCopyOf(String name, java.nio.file.Path scratch) {
        if (!folder.has(name)) {
            throw new WeightsException(
                    "%s holds no %s; copy it there from the model's source".formatted(folder.path(), name));
        }
        if (folder instanceof LocalFolder local) {
            return local.root().resolve(name);
        }
        new LocalFolder(scratch).write(name, folder.read(name));
        return scratch.resolve(name);
    }
}
