package ulysses.driver.report;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;

/** What this release was built from: versions.properties, which Maven fills in. */
final class Versions {
    private Versions() {}

    /** Versions by name, ours first. */
    static Map<String, String> all() {
        Properties built = new Properties();
        try (InputStream file = Objects.requireNonNull(
                Versions.class.getResourceAsStream("versions.properties"), "versions.properties is missing")) {
            built.load(file);
        } catch (IOException e) {
            throw new UncheckedIOException("versions.properties in the jar can't be read", e);
        }
        Map<String, String> versions = new LinkedHashMap<>();
        versions.put("Ulysses on Spark", built.getProperty("ulysses"));
        versions.put("Spark", org.apache.spark.package$.MODULE$.SPARK_VERSION());
        versions.put("libtorch", built.getProperty("pytorch").replaceFirst("-.*", ""));
        versions.put("Tokenizers (DJL)", built.getProperty("tokenizers"));
        return versions;
    }
}
