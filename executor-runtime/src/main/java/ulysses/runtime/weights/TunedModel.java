package ulysses.runtime.weights;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TuningConfig;

/**
 * A model as a run trains it: what {@code finetuning_type} and its keys make of the model that the run starts from.
 *
 * @param spec its shape, merged adapters included
 * @param plan which parameters are frozen and trained
 * @param adapter the adapter that is trained, if any
 * @param start where its weights come from; empty for a new one
 * @param merged adapters that are merged into the model first, in order
 */
public record TunedModel(
        ModelSpec spec,
        ParameterPlan plan,
        Optional<LoraSpec> adapter,
        Optional<AdapterDirectory> start,
        List<AdapterDirectory> merged) {

    private static final Pattern IN_A_LAYER = Pattern.compile(".*\\.\\d+\\..*");

    public TunedModel {
        merged = List.copyOf(merged);
    }

    /** All parameters of {@code spec} are trained. */
    public static TunedModel full(ModelSpec spec) {
        return new TunedModel(spec, ParameterPlan.full(spec), Optional.empty(), Optional.empty(), List.of());
    }

    /** {@code spec} with {@code adapters} merged into it, in order; nothing is trained. */
    public static TunedModel merged(ModelSpec spec, List<AdapterDirectory> adapters) {
        ModelSpec shape = spec;
        for (AdapterDirectory adapter : adapters) {
            adapter.weights(shape).close(); // what does not fit is refused here
            shape = MergedWeights.shape(shape, adapter.spec());
        }
        return new TunedModel(shape, ParameterPlan.frozen(shape), Optional.empty(), Optional.empty(), adapters);
    }

    /**
     * What {@code config} makes of the model {@code stored}, rotary scaling and attention included; throws {@link WeightsException} when the two
     * don't fit, with all problems.
     */
    public static TunedModel of(TrainingConfig config, ModelSpec stored, Configuration hadoop) {
        return of(config.tuning(), shape(config, stored), hadoop);
    }

    /** The model {@code stored} with the rotary scaling and the attention that {@code config} asks for. */
    public static ModelSpec shape(TrainingConfig config, ModelSpec stored) {
        String scaling = config.model().ropeScaling();
        ModelSpec scaled = scaling == null
                ? stored
                : stored.withRopeScaling(scaling, config.data().cutoffLength());
        return scaled.withAttention(config.model().attention());
    }

    /** What {@code tuning} makes of {@code spec}; throws {@link WeightsException} when the two don't fit, with all problems. */
    public static TunedModel of(TuningConfig tuning, ModelSpec spec, Configuration hadoop) {
        if (tuning instanceof TuningConfig.Lora lora) {
            return lora(lora, spec, hadoop);
        }
        if (tuning instanceof TuningConfig.Freeze freeze) {
            ParameterPlan plan = freeze(freeze, spec);
            return new TunedModel(spec, plan, Optional.empty(), Optional.empty(), List.of());
        }
        return full(spec);
    }

    private static TunedModel lora(TuningConfig.Lora tuning, ModelSpec spec, Configuration hadoop) {
        List<AdapterDirectory> adapters = tuning.adapters().stream()
                .map(path -> AdapterDirectory.open(path, hadoop))
                .toList();
        boolean goesOn = !adapters.isEmpty() && !tuning.createNewAdapter();
        List<AdapterDirectory> merged = goesOn ? adapters.subList(0, adapters.size() - 1) : adapters;
        ModelSpec shape = merged(spec, merged).spec();
        Optional<AdapterDirectory> start = goesOn ? Optional.of(adapters.get(adapters.size() - 1)) : Optional.empty();
        LoraSpec lora = start.isPresent() ? start.get().spec() : fresh(tuning, shape);
        if (start.isPresent()) {
            start.get().weights(shape).close();
        } else {
            lora.check(shape);
        }
        ParameterPlan plan = ParameterPlan.adapter(shape, lora).withRates(rates(lora, shape, tuning.plusRatio()));
        return new TunedModel(shape, plan, Optional.of(lora), start, merged);
    }

    private static LoraSpec fresh(TuningConfig.Lora tuning, ModelSpec spec) {
        boolean all = tuning.target().equals(List.of(TuningConfig.Lora.ALL));
        return new LoraSpec(
                tuning.rank(),
                tuning.alpha(),
                tuning.dropout(),
                tuning.rankStabilized(),
                all ? LoraSpec.allLinear(spec) : tuning.target(),
                tuning.additionalTarget());
    }

    /** LoRA+ (Hayou and others, arXiv:2402.12354) as LLaMA-Factory groups it: B and everything of one axis learn faster. */
    private static Map<String, Double> rates(LoraSpec lora, ModelSpec spec, double ratio) {
        Map<String, Double> rates = new HashMap<>();
        for (ParameterSpec parameter : lora.parameters(spec)) {
            if (ratio != 1 && (parameter.name().contains("lora_B") || parameter.shape().length == 1)) {
                rates.put(parameter.name(), ratio);
            }
        }
        return rates;
    }

    /** LLaMA-Factory's rule: a parameter is trained when its name contains one of these words. */
    private static ParameterPlan freeze(TuningConfig.Freeze tuning, ModelSpec spec) {
        List<String> words = new ArrayList<>();
        List<String> problems = new ArrayList<>();
        Set<String> parts = parts(spec);
        for (String module : tuning.modules()) {
            boolean whole = module.equals(TuningConfig.Freeze.ALL);
            if (!whole && !parts.contains(module)) {
                problems.add(unknown("freeze_trainable_modules", module, parts));
            }
            layers(tuning.layers(), spec).forEach(layer -> words.add("." + layer + "." + (whole ? "" : module)));
        }
        Set<String> outside = outside(spec);
        for (String module : tuning.extraModules()) {
            if (!outside.contains(module)) {
                problems.add(unknown("freeze_extra_modules", module, outside));
            }
            words.add(module);
        }
        ParameterPlan plan = ParameterPlan.partly(spec, name -> words.stream().anyMatch(name::contains));
        if (problems.isEmpty() && plan.trained().isEmpty()) {
            problems.add(
                    "freeze_trainable_layers %d and freeze_extra_modules leave nothing to train; train at least one layer"
                            .formatted(tuning.layers()));
        }
        if (!problems.isEmpty()) {
            throw new WeightsException(String.join("\n", problems));
        }
        return plan;
    }

    private static String unknown(String key, String module, Set<String> known) {
        return "%s %s is no such module of the model; use some of %s".formatted(key, module, String.join(", ", known));
    }

    private static List<Integer> layers(int count, ModelSpec spec) {
        int first = count > 0 ? Math.max(0, spec.layers() - count) : 0;
        int end = count > 0 ? spec.layers() : Math.min(-count, spec.layers());
        return Stream.iterate(first, layer -> layer < end, layer -> layer + 1).toList();
    }

    private static Set<String> parts(ModelSpec spec) {
        Set<String> parts = new TreeSet<>();
        String first = "model.layers.0.";
        spec.parameters().stream()
                .map(ParameterSpec::name)
                .filter(name -> name.startsWith(first))
                .forEach(name -> parts.add(name.substring(first.length(), name.indexOf('.', first.length()))));
        return parts;
    }

    private static Set<String> outside(ModelSpec spec) {
        Set<String> modules = new TreeSet<>();
        spec.parameters().stream()
                .map(ParameterSpec::name)
                .filter(name -> !IN_A_LAYER.matcher(name).matches())
                .map(LoraSpec::moduleOf)
                .forEach(module -> modules.add(module.substring(module.lastIndexOf('.') + 1)));
        return modules;
    }

    /** What the adapter that {@code config} trains stands beside, as its files name it. */
    public AdapterDirectory.Origin origin(TrainingConfig config) {
        return new AdapterDirectory.Origin(
                HubCacheFolder.idOf(config.model().modelNameOrPath()),
                merged.stream().map(adapter -> adapter.folder().path()).toList());
    }

    /**
     * Shows {@code reader} the weights that the run starts from: those of {@code files} with all adapters merged.
     *
     * @param files the model as it lies on disk, of the shape {@code stored}
     * @param type what the weights are rounded to after each merge
     */
    public void read(FloatWeights files, ModelSpec stored, DataType type, Consumer<FloatWeights> reader) {
        List<WeightFile> opened = new ArrayList<>();
        try {
            FloatWeights weights = files;
            ModelSpec shape = stored;
            for (AdapterDirectory adapter : merged) {
                WeightFile file = adapter.weights(shape);
                opened.add(file);
                weights = new MergedWeights(weights, shape, adapter.spec(), file, type);
                shape = MergedWeights.shape(shape, adapter.spec());
            }
            reader.accept(weights);
        } finally {
            opened.forEach(WeightFile::close);
        }
    }
}
