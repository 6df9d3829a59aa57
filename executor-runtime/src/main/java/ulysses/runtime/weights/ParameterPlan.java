package ulysses.runtime.weights;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.Stream;

/**
 * Which parameters a run holds and which of them it trains. Frozen ones need their weights only: no gradient, no master weight, no
 * optimizer state.
 *
 * @param frozen in the order of the model
 * @param trained in the order of the model, those of an adapter behind it
 * @param rates by name, where the learning rate of a trained parameter is not that of the schedule: the factor between them
 */
public record ParameterPlan(List<ParameterSpec> frozen, List<ParameterSpec> trained, Map<String, Double> rates) {
    public ParameterPlan {
        frozen = List.copyOf(frozen);
        trained = List.copyOf(trained);
        rates = Map.copyOf(rates);
    }

    /**
     * Trained parameters that the optimizer treats alike.
     *
     * @param rate factor on the learning rate
     * @param decayed whether weight decay applies
     */
    public record Group(double rate, boolean decayed, List<ParameterSpec> parameters) {
        public Group {
            parameters = List.copyOf(parameters);
        }
    }

    /** Everything is trained. */
    public static ParameterPlan full(ModelSpec spec) {
        return new ParameterPlan(List.of(), spec.parameters(), Map.of());
    }

    /** Nothing is trained: a model that is only asked. */
    public static ParameterPlan frozen(ModelSpec spec) {
        return new ParameterPlan(spec.parameters(), List.of(), Map.of());
    }

    /** Of the model's own parameters those are trained whose name {@code isTrained} accepts. */
    public static ParameterPlan partly(ModelSpec spec, Predicate<String> isTrained) {
        return new ParameterPlan(
                spec.parameters().stream()
                        .filter(parameter -> !isTrained.test(parameter.name()))
                        .toList(),
                spec.parameters().stream()
                        .filter(parameter -> isTrained.test(parameter.name()))
                        .toList(),
                Map.of());
    }

    /** The model is frozen and {@code adapter} is trained. */
    public static ParameterPlan adapter(ModelSpec spec, LoraSpec adapter) {
        return new ParameterPlan(spec.parameters(), adapter.parameters(spec), Map.of());
    }

    /** The same with other {@link #rates}. */
    public ParameterPlan withRates(Map<String, Double> other) {
        return new ParameterPlan(frozen, trained, other);
    }

    /** All parameters: frozen ones, then trained ones. */
    public List<ParameterSpec> all() {
        return Stream.concat(frozen.stream(), trained.stream()).toList();
    }

    /** Numbers that are trained. */
    public long trainedElements() {
        return elements(trained);
    }

    /** Numbers that stay as they are. */
    public long frozenElements() {
        return elements(frozen);
    }

    private static long elements(List<ParameterSpec> parameters) {
        return parameters.stream().mapToLong(ParameterSpec::elements).sum();
    }

    /** The trained parameters in groups: those that decay come first, then norms and biases. */
    public List<Group> groups() {
        List<Group> groups = new ArrayList<>();
        for (boolean decayed : new boolean[] {true, false}) {
            List<Double> factors =
                    trained.stream().map(this::rate).distinct().sorted().toList();
            for (double factor : factors) {
                List<ParameterSpec> alike = trained.stream()
                        .filter(parameter -> parameter.decayed() == decayed && rate(parameter) == factor)
                        .toList();
                if (!alike.isEmpty()) {
                    groups.add(new Group(factor, decayed, alike));
                }
            }
        }
        return List.copyOf(groups);
    }

    private double rate(ParameterSpec parameter) {
        return rates.getOrDefault(parameter.name(), 1.0);
    }
}
