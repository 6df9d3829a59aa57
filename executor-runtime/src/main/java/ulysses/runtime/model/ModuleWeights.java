package ulysses.runtime.model;

import java.util.Optional;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.weights.LoraSpec;

/**
 * What the modules of a model compute with: the parameters of the model itself, or with an adapter its copy of a module where it
 * brings one, and its product beside a linear module.
 */
record ModuleWeights(Parameters parameters, Optional<LoraSpec> adapter) {

    /** The parameter {@code name} of the model. */
    Parameter get(String name) {
        return find(name).orElseThrow(() -> new IllegalArgumentException("the model has no parameter " + name));
    }

    private Optional<Parameter> find(String name) {
        Optional<Parameter> copy = copy(name);
        return copy.isPresent() ? copy : parameters.find(name);
    }

    /** The adapter's own copy of the parameter {@code name}, if it brings one. */
    Optional<Parameter> copy(String name) {
        return adapter.isPresent() ? parameters.find(LoraSpec.copyOf(name)) : Optional.empty();
    }

    /** The linear module {@code name}, with the bias and the adapter that it has. */
    Linear linear(String name) {
        return new Linear(
                get(name + ".weight"),
                find(name + ".bias").orElse(null),
                adapter.flatMap(lora -> lowRank(name, lora)).orElse(null));
    }

    private Optional<LowRank> lowRank(String name, LoraSpec lora) {
        return parameters
                .find(LoraSpec.lowRankA(name))
                .map(a -> new LowRank(name, a, parameters.get(LoraSpec.lowRankB(name)), lora.scaling()));
    }

    /** The norm {@code name}. */
    RmsNorm norm(String name, double epsilon) {
        return new RmsNorm(get(name + ".weight"), epsilon);
    }
}
