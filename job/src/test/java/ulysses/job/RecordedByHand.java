package ulysses.job;

import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The recorded runs that the suite leaves out for time, since others like them are in it and layouts are proven equal elsewhere: {@code
 * mvn test -pl executor-runtime,driver,job -Dtest=RecordedByHand -Dsurefire.failIfNoSpecifiedTests=false}.
 */
@ExtendWith(SharedCluster.class)
class RecordedByHand {

    @TempDir
    private Path folder;

    @ParameterizedTest(name = "{0} on {3} ranks")
    @CsvSource({
        "sft-full, llama-64, small-bpe-llama3, 1",
        "sft-full, llama-64, small-bpe-llama3, 2",
        "sft-full-qwen2, qwen2-112, small-bpe-qwen, 1",
        "sft-full-qwen2, qwen2-112, small-bpe-qwen, 2",
        "pt-full, llama-64, small-bpe-llama3, 2"
    })
    void runs(String name, String model, String tokenizer, int ranks) throws IOException {
        RecordedRunsTest test = new RecordedRunsTest();
        test.folder = folder;

        test.sameYamlGivesTheSameRun(name, model, tokenizer, ranks);
    }

    @ParameterizedTest(name = "{0} on {4} ranks")
    @CsvSource({
        "sft-lora, llama-64, llama-64-r8, small-bpe-llama3, 1, auto",
        "sft-lora, llama-64, llama-64-r8, small-bpe-llama3, 2, auto",
        "sft-train-on-prompt, llama-64, llama-64-r8, small-bpe-llama3, 2, auto"
    })
    void adapters(String name, String model, String adapter, String tokenizer, int ranks, String packingMode)
            throws IOException {
        RecordedRunsTest test = new RecordedRunsTest();
        test.folder = folder;

        test.sameYamlTrainsTheSameAdapter(name, model, adapter, tokenizer, ranks, packingMode);
    }

    @ParameterizedTest(name = "{0} on {3} ranks")
    @CsvSource({
        "dpo-full-ipo, llama-64, small-bpe-llama3, 2",
        "dpo-lora-simpo, qwen2-112, small-bpe-qwen, 2",
        "dpo-lora-hinge, llama-64, small-bpe-llama3, 2",
        "dpo-lora-orpo, llama-64, small-bpe-llama3, 2"
    })
    void preferences(String name, String model, String tokenizer, int ranks) throws IOException {
        RecordedPreferencesTest test = new RecordedPreferencesTest();
        test.folder = folder;

        test.sameYamlGivesTheSamePreferences(name, model, tokenizer, ranks);
    }

    @ParameterizedTest(name = "{0}, {1} rows a rank, {2} ranks in groups of {3}")
    @CsvSource({"attention_mask, 1, 2, 1", "attention_mask, 2, 1, 1", "attention_mask, 2, 2, 2"})
    void tokenizedRows(String rows, int batch, int ranks, int group) throws IOException {
        TokenizedRowsTest test = new TokenizedRowsTest();
        test.folder = folder;
        test.layOut();

        test.givenRowsTrainInTheirOrder(rows, batch, ranks, group);
    }
}
