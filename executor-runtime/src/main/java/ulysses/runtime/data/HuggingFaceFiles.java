package ulysses.runtime.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** The two JSON files that make a folder of Arrow streams one that {@code datasets.load_from_disk} opens. */
final class HuggingFaceFiles {
    static final String STATE = "state.json";
    static final String INFO = "dataset_info.json";
    /** Marks a folder of several data sets, one a subfolder. */
    static final String SPLITS = "dataset_dict.json";

    private static final ObjectMapper JSON = new ObjectMapper();

    private HuggingFaceFiles() {}

    /** Content of state.json for {@code shards} in order. */
    static byte[] state(List<String> shards, String fingerprint) {
        ObjectNode state = JSON.createObjectNode();
        ArrayNode files = state.putArray("_data_files");
        shards.forEach(shard -> files.addObject().put("filename", shard));
        state.put("_fingerprint", fingerprint);
        state.putNull("_format_columns");
        state.putObject("_format_kwargs");
        state.putNull("_format_type");
        state.put("_output_all_columns", false);
        state.putNull("_split");
        return bytes(state);
    }

    /** Content of dataset_info.json; the column types are in the Arrow schema, whose spelling all releases of datasets read. */
    static byte[] info() {
        ObjectNode info = JSON.createObjectNode();
        info.put("description", "Packed rows for training; see MANIFEST.json");
        return bytes(info);
    }

    private static byte[] bytes(ObjectNode node) {
        return (node.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8);
    }

    /**
     * The files that a state.json lists, in order.
     *
     * @param source where the bytes come from, for messages
     */
    static List<String> shards(byte[] state, String source) {
        JsonNode tree;
        try {
            tree = JSON.readTree(state);
        } catch (IOException e) {
            throw new DataException(source + " is no complete JSON file; save the data set again", e);
        }
        if (!tree.path("_indices_data_files").isEmpty()
                || !tree.path("_indices_files").isEmpty()) {
            throw new DataException(
                    source + " selects rows by an index file, which isn't read; call flatten_indices() before"
                            + " save_to_disk");
        }
        List<String> names = new ArrayList<>();
        for (JsonNode file : tree.path("_data_files")) {
            names.add(PackedManifest.plainName(file.path("filename").asText(), source));
        }
        if (names.isEmpty()) {
            throw new DataException(source + " lists no data files; save the data set again");
        }
        return names;
    }
}
