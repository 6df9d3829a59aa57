package ulysses.driver.packing;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import ulysses.driver.ReferenceFiles;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.data.PackedRow;

/** Rows that LLaMA-Factory packed, as they were recorded. */
final class Recorded {
    private Recorded() {}

    /** A neat row: documents are numbered in attention_mask. */
    static PackedRow row(JsonNode row) {
        int[] mask = numbers(row.path("attention_mask"));
        int[] lengths = IntStream.rangeClosed(1, Arrays.stream(mask).max().orElseThrow())
                .map(document -> (int)
                        Arrays.stream(mask).filter(value -> value == document).count())
                .toArray();
        return new PackedRow(numbers(row.path("input_ids")), numbers(row.path("labels")), lengths);
    }

    static List<EncodedExample> documents(PackedRow row) {
        List<EncodedExample> documents = new ArrayList<>();
        int start = 0;
        for (int length : row.documentLengths()) {
            int[] ids = Arrays.copyOfRange(row.ids(), start, start + length);
            int[] labels = Arrays.copyOfRange(row.labels(), start, start + length);
            documents.add(new EncodedExample(ids, labels, false, length));
            start += length;
        }
        return documents;
    }

    static int padId(JsonNode line) {
        Tokenizer tokenizer = ReferenceFiles.tokenizer(line.path("tokenizer").asText());
        OptionalInt id = tokenizer.id(line.path("special_tokens").path("pad").asText());
        return id.orElseThrow();
    }

    static int[] numbers(JsonNode array) {
        return IntStream.range(0, array.size()).map(i -> array.get(i).asInt()).toArray();
    }
}
