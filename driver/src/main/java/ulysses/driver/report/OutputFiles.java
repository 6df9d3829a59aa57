package ulysses.driver.report;

import java.util.LinkedHashMap;
import java.util.Map;

/** What the files in {@code output_dir} are, by name. */
final class OutputFiles {
    private static final Map<String, String> MEANINGS = new LinkedHashMap<>();

    static {
        MEANINGS.put("model(-\\d+-of-\\d+)?\\.safetensors", "weights of the trained model");
        MEANINGS.put("model\\.safetensors\\.index\\.json", "which weight is in which file");
        MEANINGS.put("adapter_model\\.safetensors", "weights of the adapter, as PEFT loads them");
        MEANINGS.put("adapter_config\\.json", "what the adapter is, as PEFT reads it");
        MEANINGS.put("config\\.json", "what the model is");
        MEANINGS.put("generation_config\\.json", "how it generates by default");
        MEANINGS.put(
                "(tokenizer.*|special_tokens_map\\.json|added_tokens\\.json|vocab\\.json|merges\\.txt)", "tokenizer");
        MEANINGS.put("chat_template\\.jinja", "how conversations are written");
        MEANINGS.put("README\\.md", "model card");
        MEANINGS.put("trainer_log\\.jsonl", "a line a log, as LLaMA-Factory writes it");
        MEANINGS.put("trainer_state\\.json", "all logged numbers, as transformers writes them");
        MEANINGS.put("(train|eval|all)_results\\.json", "results");
        MEANINGS.put("training_args\\.json", "what the run was told");
        MEANINGS.put("training_.*\\.png", "picture of a curve");
        MEANINGS.put(RunJournal.EVENTS.replace(".", "\\."), "what ranks reported, and when");
        MEANINGS.put(RunJournal.TEXT.replace(".", "\\."), "the lines of the console");
        MEANINGS.put("checkpoint-\\d+", "checkpoint: the same command goes on from the newest one");
        MEANINGS.put("LATEST", "names the newest checkpoint");
        MEANINGS.put("prepared", "packed rows, found again by the next run on the same data");
        MEANINGS.put("runs", "event files for TensorBoard");
    }

    private OutputFiles() {}

    /** In a few words; empty for what is not ours. */
    static String meaning(String name) {
        return MEANINGS.entrySet().stream()
                .filter(entry -> name.matches(entry.getKey()))
                .map(Map.Entry::getValue)
                .findFirst()
                .orElse("");
    }
}
