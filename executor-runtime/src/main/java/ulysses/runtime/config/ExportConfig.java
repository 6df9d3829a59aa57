package ulysses.runtime.config;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What LLaMA-Factory's {@code export} is told: a model, adapters to merge into it, and where the result goes. A file describes an
 * export when it gives {@code export_dir} and no {@code output_dir}.
 *
 * @param modelNameOrPath {@code model_name_or_path}
 * @param revision {@code model_revision}
 * @param cacheDirectory {@code cache_dir}; null means the hub's own cache of this user
 * @param adapters {@code adapter_name_or_path}: merged in order
 * @param exportDir {@code export_dir}
 * @param maxShardBytes {@code export_size}, in gigabytes of 10^9 bytes there
 * @param template {@code template}: what the tokenizer's files are changed to; null keeps them
 * @param templateFile {@code template_file}: a file with more templates; null means none
 * @param type {@code infer_dtype}: float16, bfloat16, float32, or auto for the type of the model's files
 */
public record ExportConfig(
        String modelNameOrPath,
        String revision,
        @Nullable String cacheDirectory,
        List<String> adapters,
        String exportDir,
        long maxShardBytes,
        @Nullable String template,
        @Nullable String templateFile,
        String type) {
    public ExportConfig {
        adapters = List.copyOf(adapters);
    }

    static boolean isDescribedBy(Settings settings) {
        return settings.isGiven("export_dir") && !settings.isGiven("output_dir");
    }

    /** What is wrong with the keys of an export. */
    static List<String> problems(Settings settings) {
        List<String> problems = new ArrayList<>();
        if (settings.sound("model_name_or_path") && !settings.isGiven("model_name_or_path")) {
            problems.add("model_name_or_path is missing; name a Hugging Face model folder");
        }
        return problems;
    }

    static ExportConfig of(Settings settings, WorkingDirectory working) {
        return new ExportConfig(
                working.absoluteIfThere(settings.text("model_name_or_path").orElseThrow()),
                settings.text("model_revision").orElseThrow(),
                working.absolute(settings.text("cache_dir").orElse(null)),
                settings.list("adapter_name_or_path").stream()
                        .map(working::absoluteIfThere)
                        .toList(),
                working.anchored(settings.text("export_dir").orElseThrow()),
                settings.integer("export_size") * 1_000_000_000L,
                settings.text("template").orElse(null),
                working.absolute(settings.text("template_file").orElse(null)),
                settings.choice("infer_dtype"));
    }
}
