package ulysses.driver.fuzz;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Feeds damaged files to every reader of the product; {@code main FOLDER SECONDS SEED [NAME...]} spends so many seconds on each one, or
 * on those named, and {@code ReaderFuzzTest} a hundred files.
 */
public final class ReaderFuzz {
    private ReaderFuzz() {}

    /** All readers but Parquet's, with valid files in {@code folder}. */
    static List<FuzzedReader> readers(Path folder) throws IOException {
        List<FuzzedReader> readers = new ArrayList<>(RankReaders.in(folder));
        readers.addAll(DatasetReaders.in(folder));
        readers.addAll(TokenizerReaders.in(folder));
        readers.addAll(DriverReaders.in(folder));
        return readers;
    }

    public static void main(String[] arguments) throws Exception {
        Path folder = Files.createDirectories(Path.of(arguments[0]).toAbsolutePath());
        long seconds = Long.parseLong(arguments[1]);
        long seed = Long.parseLong(arguments[2]);
        List<String> named = List.of(arguments).subList(3, arguments.length);
        List<FuzzedReader> all = new ArrayList<>(readers(folder));
        all.add(DriverReaders.parquet(folder));
        List<FuzzedReader> readers = all.stream()
                .filter(reader -> named.isEmpty() || named.contains(reader.name()))
                .toList();
        System.exit(report(readers, seconds, seed) == 0 ? 0 : 1);
    }

    /** Spends {@code seconds} on each of {@code readers}; how many findings there were. */
    private static int report(List<FuzzedReader> readers, long seconds, long seed) throws Exception {
        int findings = 0;
        System.out.printf("seed %d, %d s a reader%n", seed, seconds);
        for (FuzzedReader reader : readers) {
            long begin = System.nanoTime();
            long end = begin + TimeUnit.SECONDS.toNanos(seconds);
            FuzzedReader.Outcome outcome = reader.run(seed, tried -> System.nanoTime() > end);
            System.out.printf(
                    "%-24s %8d files, %8d refused, %6.0f s, %d findings%n",
                    reader.name(),
                    outcome.tried(),
                    outcome.refused(),
                    (System.nanoTime() - begin) / 1e9,
                    outcome.findings().size());
            outcome.findings().forEach(System.out::println);
            findings += outcome.findings().size();
        }
        return findings;
    }
}
