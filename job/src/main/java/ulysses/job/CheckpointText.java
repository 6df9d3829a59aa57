package ulysses.job;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintStream;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointReader;
import ulysses.runtime.checkpoint.StateTensor;
import ulysses.runtime.checkpoint.TrainState;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.AdapterDirectory;
import ulysses.runtime.weights.LoraSpec;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.TensorData;

/** What a checkpoint holds, as text. */
final class CheckpointText {
    private static final int PARAMETERS_SHOWN = 12;
    private static final Map<String, String> STATES = Map.of(
            StateTensor.MODEL, "weights",
            StateTensor.MASTER, "master weights",
            StateTensor.EXP_AVG, "AdamW's mean of gradients",
            StateTensor.EXP_AVG_SQ, "AdamW's mean of squared gradients");

    private CheckpointText() {}

    static void print(Checkpoint checkpoint, boolean full, PrintStream out) {
        JsonNode trainer = json(checkpoint.trainerStateJson());
        TrainState state = checkpoint.state();
        RankMesh mesh = checkpoint.manifest().mesh();
        out.println(checkpoint.path() + ": complete, every file has its length");
        line(
                out,
                "step",
                String.format(Locale.ROOT, "%,d%s, epoch %.4f", state.step(), ofTotal(trainer), state.epoch()));
        line(
                out,
                "loss",
                String.format(
                        Locale.ROOT,
                        "%s, mean of all steps %.4f",
                        lastLoss(trainer),
                        state.lossSum() / Math.max(1, state.step())));
        line(
                out,
                "seen",
                String.format(
                        Locale.ROOT,
                        "%,d rows, %,d tokens, %,d trained; %,.0f s",
                        state.rowsSeen(),
                        state.tokensSeen(),
                        state.trainedTokens(),
                        state.seconds()));
        line(
                out,
                "written by",
                "%d %s, sequence_parallel_size %d, attempt %d; any number of ranks can go on from it"
                        .formatted(
                                mesh.worldSize(),
                                mesh.worldSize() == 1 ? "rank" : "ranks",
                                mesh.sequenceParallelSize(),
                                checkpoint.manifest().attempt()));
        boolean adapter = checkpoint.folder().has(AdapterDirectory.CONFIG);
        line(out, adapter ? "adapter" : "model", adapter ? adapter(checkpoint) : model(checkpoint));
        try (CheckpointReader reader = CheckpointReader.open(checkpoint)) {
            states(reader, out);
            List<String> names = adapter
                    ? List.copyOf(reader.parameters(StateTensor.MODEL))
                    : ModelDirectory.open(checkpoint.folder()).spec().parameters().stream()
                            .map(ParameterSpec::name)
                            .toList();
            parameters(reader, names, full, out);
        }
        out.println("files");
        checkpoint
                .manifest()
                .files()
                .forEach(file -> out.println(
                        String.format(Locale.ROOT, "  %10s  %s", ByteSize.text(file.length()), file.name())));
    }

    private static String model(Checkpoint checkpoint) {
        ModelSpec spec = ModelDirectory.open(checkpoint.folder()).spec();
        return String.format(
                Locale.ROOT,
                "%s, %,d parameters, %d layers, hidden size %,d",
                spec.architecture(),
                spec.parameterCount(),
                spec.layers(),
                spec.hiddenSize());
    }

    private static String adapter(Checkpoint checkpoint) {
        AdapterDirectory adapter = AdapterDirectory.open(checkpoint.folder());
        LoraSpec lora = adapter.spec();
        return "LoRA of rank %d, scaling %s, on %s; beside %s"
                .formatted(
                        lora.rank(),
                        lora.scaling(),
                        String.join(", ", lora.targetModules()),
                        adapter.origin().model());
    }

    private static void line(PrintStream out, String name, String value) {
        out.println("  %-11s%s".formatted(name, value));
    }

    private static JsonNode json(String text) {
        try {
            return new ObjectMapper().readTree(text);
        } catch (JsonProcessingException damaged) {
            return new ObjectMapper().createObjectNode(); // a log only: what it would say is left out
        }
    }

    private static String ofTotal(JsonNode trainer) {
        return trainer.path("max_steps").asLong() > 0
                ? String.format(
                        Locale.ROOT, " of %,d", trainer.path("max_steps").asLong())
                : "";
    }

    private static String lastLoss(JsonNode trainer) {
        Optional<JsonNode> last = Optional.empty();
        for (JsonNode entry : trainer.path("log_history")) {
            last = entry.has("loss") ? Optional.of(entry) : last;
        }
        return last.map(entry -> String.format(
                        Locale.ROOT,
                        "%.4f logged at step %,d",
                        entry.path("loss").asDouble(),
                        entry.path("step").asLong()))
                .orElse("none logged yet");
    }

    private static void states(CheckpointReader reader, PrintStream out) {
        for (String state : new TreeSet<>(reader.states())) {
            Map<String, Long> byType = new TreeMap<>();
            long bytes = 0;
            for (String parameter : reader.parameters(state)) {
                long elements = reader.elements(state, parameter);
                bytes += elements * reader.type(state, parameter).bytes();
                byType.merge(reader.type(state, parameter).torchName(), elements, Long::sum);
            }
            String types = String.join(" and ", byType.keySet());
            long elements = byType.values().stream().mapToLong(Long::longValue).sum();
            line(
                    out,
                    state,
                    String.format(
                            Locale.ROOT,
                            "%s: %,d elements of %d parameters, %s, %s",
                            STATES.getOrDefault(state, "unknown state"),
                            elements,
                            reader.parameters(state).size(),
                            types,
                            ByteSize.text(bytes)));
        }
    }

    private static void parameters(CheckpointReader reader, List<String> parameters, boolean full, PrintStream out) {
        int shown = full ? parameters.size() : Math.min(parameters.size(), PARAMETERS_SHOWN);
        out.println("parameters");
        for (String parameter : parameters.subList(0, shown)) {
            TensorData weight = reader.weight(parameter);
            out.println("  %s%s %s"
                    .formatted(
                            parameter,
                            Arrays.toString(weight.shape()),
                            weight.type().torchName()));
        }
        if (shown < parameters.size()) {
            out.println("  and %d more (--full shows all)".formatted(parameters.size() - shown));
        }
    }
}
