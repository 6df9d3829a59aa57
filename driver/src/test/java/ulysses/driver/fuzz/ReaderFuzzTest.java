package ulysses.driver.fuzz;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Some damaged files for each reader; longer runs by hand, with {@link ReaderFuzz}. */
final class ReaderFuzzTest {
    private static final long SEED = 6_000_000;
    private static final int FILES = 100;

    @TempDir
    private static Path folder;

    @TestFactory
    Stream<DynamicTest> damagedFilesAreReadOrRefusedWithOneMessage() throws IOException {
        List<FuzzedReader> readers = ReaderFuzz.readers(folder);
        return readers.stream()
                .map(reader -> DynamicTest.dynamicTest(reader.name(), () -> {
                    reader.read().run(); // the valid file is read

                    FuzzedReader.Outcome outcome = reader.run(SEED, tried -> tried >= FILES);

                    assertThat(outcome.findings()).isEmpty();
                    assertThat(outcome.refused()).as("refused of %d", FILES).isBetween(1, FILES);
                }));
    }
}
