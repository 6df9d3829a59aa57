package ulysses.driver.packing;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.dataset.DatasetRegistry;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.config.TrainingConfig;

/**
 * A number that changes when prepared rows would: SHA-256 over the settings that decide about them, the tokenizer, the entries of
 * dataset_info.json, and path, length and time of every input file. Contents of input files are not read.
 */
final class DataFingerprint {
    private static final ObjectMapper JSON = new ObjectMapper().enable(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS);

    private DataFingerprint() {}

    static String of(TrainingConfig config, Tokenizer tokenizer, DatasetRegistry registry, Configuration hadoop)
            throws IOException {
        ObjectNode parts = JSON.createObjectNode();
        parts.put("report_version", PrepareReport.VERSION);
        parts.put("stage", config.tuning().stage().name());
        parts.put("val_size", config.evaluation().validationSize());
        parts.put("seed", config.step().seed());
        parts.put("tokenizer", tokenizer.fingerprint());
        parts.put("adds_bos", tokenizer.addsBos());
        ObjectNode data = JSON.valueToTree(config.data());
        // Where things lie and how fast they are made does not change rows.
        data.remove(List.of("datasetDir", "workers", "overwriteCache", "tokenizedPath", "preparedDirectory"));
        parts.set("data", data);
        ArrayNode inputs = parts.putArray("inputs");
        List<String> names = new ArrayList<>(config.data().dataset());
        names.addAll(config.data().evalDataset());
        for (String name : names) {
            inputs.add(JSON.<ObjectNode>valueToTree(registry.entry(name)));
            InputFiles.of(List.of(name), registry, hadoop).descriptions().forEach(inputs::add);
        }
        return HexFormat.of().formatHex(sha256().digest(JSON.writeValueAsBytes(parts)));
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }
}
