package ulysses.runtime.weights;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * The shape of a LoRA adapter (Hu and others, arXiv:2106.09685): beside the frozen weight W [out,in] of a module stand A [r,in] and B
 * [out,r], and the module gives W x + scaling * B A x. Names are those of PEFT's files.
 *
 * @param rank {@code r}
 * @param alpha {@code lora_alpha}
 * @param dropout {@code lora_dropout}: share of A's inputs that training drops
 * @param rankStabilized {@code use_rslora}: scaling is alpha / sqrt(r) instead of alpha / r
 * @param targetModules {@code target_modules}: a module has A and B when its full name is one of them or ends with a dot and one
 * @param modulesToSave {@code modules_to_save}: modules that the adapter brings whole, found by the end of their names
 */
public record LoraSpec(
        int rank,
        int alpha,
        double dropout,
        boolean rankStabilized,
        List<String> targetModules,
        List<String> modulesToSave) {

    /** What PEFT puts in front of the names of a model. */
    public static final String PREFIX = "base_model.model.";

    private static final String WEIGHT = ".weight";
    private static final String HEAD = "lm_head";
    private static final String EMBEDDING = "model.embed_tokens";

    public LoraSpec {
        targetModules = List.copyOf(targetModules);
        modulesToSave = List.copyOf(modulesToSave);
        if (rank < 1) {
            throw new IllegalArgumentException("rank %d of an adapter; it is at least 1".formatted(rank));
        }
    }

    /** What the product of B and A is multiplied by. */
    public double scaling() {
        return rankStabilized ? alpha / Math.sqrt(rank) : (double) alpha / rank;
    }

    /** The name of A of {@code module}, such as {@code model.layers.0.self_attn.q_proj}. */
    public static String lowRankA(String module) {
        return PREFIX + module + ".lora_A.weight";
    }

    /** The name of B of {@code module}. */
    public static String lowRankB(String module) {
        return PREFIX + module + ".lora_B.weight";
    }

    /** The name of the adapter's own copy of the model's {@code parameter}. */
    public static String copyOf(String parameter) {
        return PREFIX + parameter;
    }

    /** The module that {@code parameter} of a model belongs to. */
    public static String moduleOf(String parameter) {
        return parameter.substring(0, parameter.lastIndexOf('.'));
    }

    /** The last words of all linear modules of {@code spec} but the head: what {@code lora_target: all} means. */
    public static List<String> allLinear(ModelSpec spec) {
        Set<String> names = new TreeSet<>();
        linear(spec).stream()
                .filter(module -> !module.equals(HEAD))
                .forEach(module -> names.add(module.substring(module.lastIndexOf('.') + 1)));
        return List.copyOf(names);
    }

    /** Full names of the modules of {@code spec} that have A and B, in its order. */
    public List<String> adapted(ModelSpec spec) {
        Set<String> whole = Set.copyOf(saved(spec));
        return linear(spec).stream()
                .filter(module -> isTarget(module) && !whole.contains(module))
                .toList();
    }

    /** Full names of the modules of {@code spec} that the adapter brings whole, in its order. */
    public List<String> saved(ModelSpec spec) {
        return modules(spec).stream()
                .filter(module -> modulesToSave.stream().anyMatch(module::endsWith))
                .toList();
    }

    private boolean isTarget(String module) {
        return targetModules.stream().anyMatch(target -> names(target, module));
    }

    private static boolean names(String target, String module) {
        return module.equals(target) || module.endsWith("." + target);
    }

    /** Linear modules, a head that is tied included. */
    private static List<String> linear(ModelSpec spec) {
        return modules(spec).stream()
                .filter(module -> module.endsWith("_proj") || module.equals(HEAD))
                .toList();
    }

    private static List<String> modules(ModelSpec spec) {
        Stream<String> stored = spec.parameters().stream().map(parameter -> moduleOf(parameter.name()));
        return Stream.concat(stored, spec.tiedHead() ? Stream.of(HEAD) : Stream.empty())
                .distinct()
                .toList();
    }

    /**
     * Refuses what can't be trained of {@code spec}, with all problems: names that no module has, and an adapter beside the embedding or the
     * head, which may only be brought whole.
     */
    public void check(ModelSpec spec) {
        List<String> problems = new ArrayList<>();
        for (String target : targetModules) {
            if (names(target, HEAD) || names(target, EMBEDDING)) {
                problems.add(
                        "lora_target %s is the %s, which LoRA does not adapt here; write additional_target: %s to train it whole"
                                .formatted(target, names(target, HEAD) ? "head" : "embedding", target));
            } else if (linear(spec).stream().noneMatch(module -> names(target, module))) {
                problems.add("lora_target %s names no linear module of %s; use all, or some of %s"
                        .formatted(target, spec.architecture(), String.join(", ", allLinear(spec))));
            }
        }
        for (String whole : modulesToSave) {
            if (modules(spec).stream().noneMatch(module -> module.endsWith(whole))) {
                Set<String> last = new TreeSet<>();
                modules(spec).forEach(module -> last.add(module.substring(module.lastIndexOf('.') + 1)));
                problems.add("additional_target %s names no module of %s; use some of %s"
                        .formatted(whole, spec.architecture(), String.join(", ", last)));
            }
        }
        if (problems.isEmpty() && adapted(spec).isEmpty()) {
            problems.add("no module is left for LoRA: additional_target takes all of lora_target; leave some out");
        }
        if (!problems.isEmpty()) {
            throw new WeightsException(String.join("\n", problems));
        }
    }

    /** All parameters of the adapter, in the order of the model. */
    public List<ParameterSpec> parameters(ModelSpec spec) {
        List<ParameterSpec> parameters = new ArrayList<>();
        Set<String> adapted = Set.copyOf(adapted(spec));
        Set<String> saved = Set.copyOf(saved(spec));
        for (ParameterSpec parameter : spec.parameters()) {
            String module = moduleOf(parameter.name());
            if (saved.contains(module)) {
                parameters.add(copy(parameter.name(), parameter));
            } else if (adapted.contains(module) && parameter.name().endsWith(WEIGHT)) {
                long[] shape = parameter.shape();
                parameters.add(new ParameterSpec(lowRankA(module), new long[] {rank, shape[1]}, true));
                parameters.add(new ParameterSpec(lowRankB(module), new long[] {shape[0], rank}, true));
            }
        }
        if (spec.tiedHead() && saved.contains(HEAD)) {
            parameters.add(copy(ModelSpec.HEAD, spec.parameters().get(0)));
        }
        return List.copyOf(parameters);
    }

    private static ParameterSpec copy(String name, ParameterSpec original) {
        return new ParameterSpec(copyOf(name), original.shape(), original.decayed());
    }
}
