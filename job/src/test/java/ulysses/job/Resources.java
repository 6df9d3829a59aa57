package ulysses.job;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;

/** Files that runs of tests start from, copied into a folder of the test; gzipped ones are unpacked. */
final class Resources {
    private static final Path OWN = Path.of("src", "test", "resources");
    private static final Path RUNTIME =
            Path.of("..", "executor-runtime").resolve(OWN).resolve("reference");
    private static final Path TOKENIZERS =
            Path.of("..", "driver").resolve(OWN).resolve("reference").resolve("tokenizers");

    /** What {@code conf/quickstart.yaml} trains. */
    static final Path QUICKSTART = Path.of("..", "conf", "quickstart");

    private Resources() {}

    /** A file or folder of this module's test resources. */
    static void copy(String name, Path target) {
        copy(OWN.resolve(name), target);
    }

    /** One of the tiny reference models: config.json and weights, no tokenizer. */
    static void copyModel(String name, Path target) {
        copy(RUNTIME.resolve("models").resolve(name), target);
    }

    /** What is recorded of a tiny reference model. */
    static Path recorded(String model, String caseName) {
        return RUNTIME.resolve("cases").resolve(model).resolve(caseName);
    }

    /** A tokenizer of 4096 tokens: small-bpe-llama3 or small-bpe-qwen. */
    static void copyTokenizer(String name, Path target) {
        copy(TOKENIZERS.resolve(name), target);
    }

    /** Writes a configuration file and gives its path. */
    static String yaml(Path file, String content) {
        try {
            return Files.writeString(file, content).toString();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** A file or folder; a folder's content is added to what {@code target} holds. */
    static void copy(Path source, Path target) {
        try (Stream<Path> found = Files.walk(source)) {
            List<Path> files = found.filter(Files::isRegularFile).toList();
            for (Path file : files) {
                Path copy = file.equals(source)
                        ? target
                        : target.resolve(source.relativize(file).toString());
                copyFile(file, copy);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(source.toString(), e);
        }
    }

    private static void copyFile(Path file, Path target) throws IOException {
        Files.createDirectories(target.toAbsolutePath().getParent());
        String name = target.getFileName().toString();
        if (!name.endsWith(".gz")) {
            Files.copy(file, target);
            return;
        }
        try (InputStream content = new GZIPInputStream(Files.newInputStream(file))) {
            Files.copy(content, target.resolveSibling(name.substring(0, name.length() - ".gz".length())));
        }
    }
}
