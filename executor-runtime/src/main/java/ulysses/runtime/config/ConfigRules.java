package ulysses.runtime.config;

import java.time.DateTimeException;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * What must hold between keys: the consistency checks of LLaMA-Factory's parser that concern the stages pt, sft and dpo,
 * and ours. A rule keeps quiet when one of its keys already has a problem.
 */
final class ConfigRules {
    static final DateTimeFormatter TOOL_DATE = DateTimeFormatter.ofPattern("dd MMM yyyy", Locale.ENGLISH);

    private final Settings settings;
    private final List<String> problems;
    private final List<String> notes;

    ConfigRules(Settings settings, List<String> problems, List<String> notes) {
        this.settings = settings;
        this.problems = problems;
        this.notes = notes;
    }

    void check() {
        required();
        tuning();
        new PreferenceSettings(settings).check(problems, notes);
        prompts();
        packing();
        mixing();
        evaluation();
        new ScheduleRules(settings, problems, notes).check();
        precisionAndDevice();
        activationMemory();
        new AttentionSettings(settings).check(problems);
        sequenceParallel();
        ranks();
        new ReportRules(settings, problems, notes).check();
        new StrategyRules(settings).check(problems);
        ours();
    }

    private void activationMemory() {
        String key = "activation_memory";
        if (!settings.sound(key) || !settings.isGiven(key)) {
            return;
        }
        Optional<ActivationMemory> memory =
                ActivationMemory.parse(settings.text(key).orElseThrow());
        if (memory.isEmpty()) {
            problem(key, "is no amount of memory; use auto, none, attention, full, or bytes such as 8g");
        } else if (settings.sound("disable_gradient_checkpointing")
                && settings.flag("disable_gradient_checkpointing")
                && memory.get().kind() != ActivationMemory.Kind.FULL) {
            problem(key, "contradicts disable_gradient_checkpointing, which keeps all; leave one of them out");
        }
    }

    private void required() {
        require("model_name_or_path", "name a Hugging Face model folder");
        require("output_dir", "name the folder for the model, logs and checkpoints");
        if (!settings.isGiven("tokenized_path")) {
            require("dataset", "name one or more datasets of dataset_info.json, or set tokenized_path");
        }
        String folder = settings.text("dataset_dir").orElse("");
        if (folder.equals("ONLINE") || folder.startsWith("REMOTE:")) {
            problem(
                    "dataset_dir",
                    "would load from the hub, which is not supported; name a folder with dataset_info.json");
        }
    }

    private void require(String key, String advice) {
        if (settings.sound(key) && settings.list(key).isEmpty()) {
            problems.add("%s is missing; %s".formatted(key, advice));
        }
    }

    private void tuning() {
        new TuningSettings(settings).check(problems, notes);
        if (settings.given("do_train").isPresent() && !settings.flag("do_train")) {
            problem("do_train", "asks for no training; remove it, or use the prepare or export command");
        }
        if (settings.sound("max_steps") && settings.integer("max_steps") == 0) {
            problem("max_steps", "is neither -1 nor >= 1; write -1 to train num_train_epochs");
        }
    }

    private void prompts() {
        if (!settings.sound("stage", "train_on_prompt", "mask_history")) {
            return;
        }
        boolean onPrompt = settings.flag("train_on_prompt");
        boolean masked = settings.flag("mask_history");
        if (onPrompt && masked) {
            problem("train_on_prompt", "contradicts mask_history true; keep one of them");
        }
        if (settings.sound("split_special_tokens", "literal_special_tokens")
                && settings.flag("split_special_tokens")
                && settings.flag("literal_special_tokens")) {
            problem(
                    "literal_special_tokens",
                    "contradicts split_special_tokens true, which splits the template's tokens too; keep one of them");
        }
        onlyForSft("train_on_prompt", onPrompt);
        onlyForSft("mask_history", masked);
        onlyForSft("neat_packing", settings.flag("neat_packing"));
    }

    private void onlyForSft(String key, boolean set) {
        if (set && !settings.choice("stage").equals("sft")) {
            problem(key, "works only with stage sft, but stage is %s; remove it".formatted(settings.choice("stage")));
        }
    }

    private void packing() {
        if (!settings.sound("stage", "packing", "neat_packing", "packing_mode")) {
            return;
        }
        String mode = settings.choice("packing_mode");
        String stage = settings.choice("stage");
        boolean neat = settings.flag("neat_packing");
        boolean packed = neat || settings.optionalFlag("packing").orElse(stage.equals("pt"));
        if (stage.equals("dpo") && packed && mode.equals("llamafactory")) {
            problem("packing_mode", "is no packing of pairs: LLaMA-Factory has none; use packing_mode: best_fit");
        }
        if (stage.equals("sft") && packed && !neat && mode.equals("llamafactory")) {
            notes.add(
                    "packing_mode llamafactory with packing true lets attention cross documents, as in LLaMA-Factory; "
                            + "neat_packing true, or packing_mode best_fit, keeps them apart");
        }
        if (!packed && !mode.equals("auto")) {
            problem("packing_mode", "has no effect without packing; write packing: true or remove it");
        }
        if (neat && settings.optionalFlag("packing").equals(Optional.of(false))) {
            notes.add("packing false is ignored: neat_packing true turns packing on, as in LLaMA-Factory");
        }
    }

    private void mixing() {
        if (!settings.sound("mix_strategy", "interleave_probs", "dataset", "eval_dataset", "eval_on_each_dataset")
                || !settings.isGiven("interleave_probs")) {
            return;
        }
        List<String> words = settings.list("interleave_probs");
        List<Double> shares = words.stream()
                .map(ScalarText::number)
                .flatMap(Optional::stream)
                .filter(share -> share > 0)
                .toList();
        if (settings.choice("mix_strategy").equals("concat")) {
            problem(
                    "interleave_probs",
                    "has no effect with mix_strategy concat; use an interleave strategy, such as interleave_under");
        } else if (shares.size() != words.size()) {
            problem("interleave_probs", "holds something that is no share > 0; write numbers with commas between");
        } else if (settings.list("dataset").size() != shares.size()) {
            refuseShares(shares.size(), "dataset");
        } else if (mixesEvaluation() && settings.list("eval_dataset").size() != shares.size()) {
            refuseShares(shares.size(), "eval_dataset");
        } else if (Math.abs(shares.stream().mapToDouble(share -> share).sum() - 1) > 1e-8) { // NumPy's limit
            problem("interleave_probs", "does not add up to 1; correct the shares");
        }
    }

    /** A single data set is not mixed, nor are those that give a loss each. */
    private boolean mixesEvaluation() {
        return settings.list("eval_dataset").size() > 1 && !settings.flag("eval_on_each_dataset");
    }

    private void refuseShares(int shares, String key) {
        problem(
                "interleave_probs",
                "has %d shares for %d datasets of %s; write one for each"
                        .formatted(shares, settings.list(key).size(), key));
    }

    private void evaluation() {
        if (!settings.sound("eval_dataset", "val_size", "eval_strategy", "do_eval", "dataset")) {
            return;
        }
        double held = settings.number("val_size");
        boolean given = !settings.list("eval_dataset").isEmpty();
        if (held > 1 && held != Math.rint(held)) {
            problem("val_size", "is neither a fraction below 1 nor a whole number; write one of them");
        }
        if (given && held > 0) {
            problem("val_size", "can't be used together with eval_dataset; keep one of them");
        }
        if (held > 0 && !settings.isGiven("dataset")) {
            problem("val_size", "needs dataset to hold rows back from; name eval_dataset instead");
        }
        boolean wanted = !settings.choice("eval_strategy").equals("no") || settings.flag("do_eval");
        if (wanted && !given && held == 0) {
            String key = settings.flag("do_eval") ? "do_eval" : "eval_strategy";
            problem(key, "needs data to evaluate on; set eval_dataset or val_size");
        }
    }

    private void precisionAndDevice() {
        if (settings.sound("bf16", "pure_bf16") && settings.flag("pure_bf16")) {
            notes.add("pure_bf16 true is taken as bf16 true: master weights stay float32");
        }
        boolean cuda = settings.text("device").filter("cuda"::equalsIgnoreCase).isPresent();
        if (settings.sound("use_cpu", "device") && settings.flag("use_cpu") && cuda) {
            problem("use_cpu", "contradicts device cuda; keep one of them");
        }
    }

    /** All names of the size of a sequence-parallel group must agree. */
    private void sequenceParallel() {
        Setting first = null;
        for (String key : ConfigSections.GROUP_SIZE_KEYS) {
            Optional<Setting> setting = settings.given(key);
            if (setting.isEmpty()) {
                continue;
            }
            if (first == null) {
                first = setting.get();
            } else if (!KeyTable.table()
                    .get(key)
                    .means(first.value(), setting.get().value())) {
                problems.add(setting.get()
                        .problem("contradicts %s %s (%s); keep one of them"
                                .formatted(first.typed(), first.shown(), first.origin())));
            }
        }
        settings.choice("sequence_parallel_mode");
        settings.choice("cp_mode");
    }

    private void ranks() {
        if (!settings.sound(ConfigSections.GROUP_SIZE_KEYS.toArray(String[]::new)) || !settings.sound("num_ranks")) {
            return;
        }
        int group = ConfigSections.groupSize(settings);
        int ranks = settings.integer("num_ranks");
        if (ranks % group != 0) {
            int below = ranks - ranks % group;
            String use = below == 0 ? String.valueOf(group) : below + " or " + (below + group);
            problem("num_ranks", "is not divisible by sequence_parallel_size %d; use %s".formatted(group, use));
        }
        boolean prepares = settings.sound("cutoff_len") && !settings.isGiven("tokenized_path");
        int length = prepares ? settings.integer("cutoff_len") : 0;
        if (length % group != 0) {
            int above = (length / group + 1) * group;
            problem("cutoff_len", "is not divisible by sequence_parallel_size %d; use %d".formatted(group, above));
        }
    }

    private void ours() {
        if (settings.sound("tool_date")) {
            try {
                TOOL_DATE.parse(settings.text("tool_date").orElseThrow());
            } catch (DateTimeException notADate) {
                problem("tool_date", "is no date such as 01 Jan 2026; write day, short English month and year");
            }
        }
        if (settings.sound("max_shard_size")
                && ConfigSections.bytes(settings.text("max_shard_size").orElseThrow())
                        .isEmpty()) {
            problem("max_shard_size", "is no size; write a number with KB, MB or GB, such as 5GB");
        }
        if (settings.sound("ddp_timeout") && settings.integer("ddp_timeout") > ConfigSections.LONGEST_WAIT_SECONDS) {
            notes.add("ddp_timeout %d is taken as %d seconds, so that a dead run ends"
                    .formatted(settings.integer("ddp_timeout"), ConfigSections.LONGEST_WAIT_SECONDS));
        }
        if (settings.sound("save_only_model") && settings.flag("save_only_model")) {
            notes.add(
                    "save_only_model true: checkpoints hold no optimizer states, so a run that is interrupted can't go on from them");
        }
    }

    private void problem(String key, String whatIsWrong) {
        problems.add(settings.problem(key, whatIsWrong));
    }
}
