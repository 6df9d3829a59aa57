package ulysses.runtime.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.attention.SequenceLayout;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.TrainingConfig.Attention;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.memory.Offload;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.objective.NextToken;
import ulysses.runtime.segment.OffloadedSegments;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.segment.Segment;
import ulysses.runtime.training.SequenceStep;
import ulysses.runtime.weights.LoraSpec;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterPlan;

/** Segments against one graph of autograd over a plain model in float64; and with recomputation against without, bit for bit. */
final class SegmentGradientTest {

    private static final CausalLm.Layers KEEPING = keeping(ActivationMemory.FULL);
    private static final CausalLm.Layers RECOMPUTING = keeping(ActivationMemory.ATTENTION);

    /** Keeps enough for a part of what {@link #BATCH} gives; with one rank the two layers keep different things. */
    private static final CausalLm.Layers PARTLY = keeping(ActivationMemory.ofBytes(20_000));

    /** Seven tokens of an MLP of 48 features at once: the last tile is shorter. */
    private static final CausalLm.Layers TILED =
            keeping(ActivationMemory.ATTENTION).withTiles(7 * 48);

    private static final CausalLm.Layers TILED_KEEPING =
            keeping(ActivationMemory.FULL).withTiles(7 * 48);

    private static final List<CausalLm.Layers> ALL =
            List.of(KEEPING, RECOMPUTING, keeping(ActivationMemory.NONE), PARTLY, TILED, TILED_KEEPING);

    private static final MicroBatch BATCH = MicroBatch.of(SmallModels.rows(3, 4, 20), 12);

    @TempDir
    private Path directory;

    @ParameterizedTest(name = "{0} {3}")
    @CsvSource(
            delimiter = ';',
            value = {
                "llama; 4; 2; ''",
                "llama; 4; 1; , \"tie_word_embeddings\": true",
                "llama; 4; 4; , \"attention_bias\": true, \"mlp_bias\": true",
                "qwen2; 4; 2; , \"tie_word_embeddings\": true",
                "qwen3; 4; 2; , \"attention_bias\": true",
                "mistral; 4; 2; , \"sliding_window\": 5"
            })
    void equalsOneGraphOfAutograd(String family, int heads, int kvHeads, String more) {
        equalsOneGraphOfAutograd(SmallModels.spec(family, heads, kvHeads, more));
    }

    @Test
    void sparseAttentionEqualsOneGraphOfAutograd() {
        Attention blocks = new Attention(0, 0, List.of(new AttentionPattern(4, 1, 4), new AttentionPattern(3, 2, 0)));
        equalsOneGraphOfAutograd(SmallModels.llama().withAttention(new Attention(5, 2, List.of())));
        equalsOneGraphOfAutograd(SmallModels.llama().withAttention(blocks));
    }

    private static void equalsOneGraphOfAutograd(ModelSpec spec) {
        try (Parameters parameters = SmallModels.parameters(spec, ComputeType.FLOAT32)) {
            PlainCausalLm.Result plain = new PlainCausalLm(spec).lossAndGradients(parameters, BATCH);

            for (CausalLm.Layers how : ALL) {
                Map<String, double[]> gradients = new LinkedHashMap<>();
                double loss = run(spec, parameters, new SingleRank("one"), how, gradients);

                assertThat(loss / BATCH.trainedTokens()).isCloseTo(plain.loss(), within(1e-6));
                // Single ones, above all sums that cancel such as the bias of keys, round worse in float32 than all
                // together.
                gradients.forEach((name, gradient) -> assertThat(
                                TensorArrays.relative(gradient, of(name, plain.gradients())))
                        .as(name)
                        .isLessThan(3e-6));
                assertThat(TensorArrays.relative(joined(gradients), joined(plain.gradients())))
                        .as("all gradients")
                        .isLessThan(1e-6);
            }
        }
    }

    @ParameterizedTest(name = "P = {0}")
    @ValueSource(ints = {1, 2, 3, 4})
    void whatIsKeptChangesNoBit(int ranks) {
        RankThreads.forEachRank(ranks, groups -> {
            try (Offload offload = Offload.toFiles(directory)) {
                whatIsKeptChangesNoBit(groups.sequenceParallel(), offload);
            }
        });
    }

    private static void whatIsKeptChangesNoBit(Collectives group, Offload offload) {
        for (ModelSpec spec : List.of(
                SmallModels.llama(),
                SmallModels.llama().withAttention(new Attention(0, 0, List.of(new AttentionPattern(4, 2, 4)))),
                SmallModels.spec("qwen3", 6, 2, ""),
                SmallModels.spec("mistral", 7, 1, ", \"sliding_window\": 5"))) {
            try (Parameters parameters = SmallModels.parameters(spec, ComputeType.FLOAT32)) {
                Map<String, double[]> expected = new LinkedHashMap<>();
                double loss = run(spec, parameters, group, KEEPING, expected);
                for (CausalLm.Layers how : others(offload)) {
                    Map<String, double[]> actual = new LinkedHashMap<>();

                    double again = run(spec, parameters, group, how, actual);

                    assertThat(again).isEqualTo(loss);
                    actual.forEach(
                            (name, gradient) -> assertThat(gradient).as(name).isEqualTo(of(name, expected)));
                }
            }
        }
    }

    @Test
    void whatIsAwayHoldsNoMemoryUntilBackward() {
        ModelSpec spec = SmallModels.llama();
        try (Offload offload = Offload.toFiles(directory);
                Parameters parameters = SmallModels.parameters(spec, ComputeType.FLOAT32);
                TensorScope scope = TensorScope.open()) {
            CausalLm.Layers how = KEEPING.with(new OffloadedSegments(offload));
            CausalLm model = model(spec, parameters, new SingleRank("one"), how);
            Segment layers = model.on(new SequenceLayout(BATCH.documentEnds()), BATCH.positions());

            try (Segment.Pass pass = layers.forward(model.embed(BATCH.ids()))) {
                List<Tensor> remembered = pass.remembered();

                assertThat(remembered).hasSizeGreaterThan(8 * spec.layers());
                assertThat(remembered.stream().filter(x -> x.numel() > 0))
                        .as("the input of the final norm")
                        .hasSize(1);
            }
        }
    }

    private static List<CausalLm.Layers> others(Offload offload) {
        List<CausalLm.Layers> stay = List.of(KEEPING, RECOMPUTING, keeping(ActivationMemory.NONE), PARTLY);
        List<CausalLm.Layers> all = new ArrayList<>();
        for (CausalLm.Layers how : stay) {
            all.add(how.overlapping(false));
            all.add(how.with(new OffloadedSegments(offload)));
        }
        return all;
    }

    @Test
    void inferenceGivesWhatForwardGives() {
        ModelSpec spec = SmallModels.llama();
        try (Parameters parameters = SmallModels.parameters(spec, ComputeType.FLOAT32);
                TensorScope scope = TensorScope.open()) {
            for (CausalLm.Layers how : ALL) {
                CausalLm model = model(spec, parameters, new SingleRank("one"), how);
                Segment layers = model.on(new SequenceLayout(BATCH.documentEnds()), BATCH.positions());
                Tensor embedded = model.embed(BATCH.ids());
                try (Segment.Pass pass = layers.forward(embedded)) {
                    assertThat(torch.equal(pass.output(), layers.infer(embedded)))
                            .isTrue();
                }
            }
        }
    }

    /** Layers below the first trained one are not walked back; the others give what they give when all is trained. */
    @ParameterizedTest(name = "checkpointing {0}")
    @ValueSource(booleans = {true, false})
    void frozenParametersChangeNoGradientOfTheOthers(boolean checkpointing) {
        CausalLm.Layers how = checkpointing ? RECOMPUTING : KEEPING;
        ModelSpec spec = SmallModels.spec("qwen3", 4, 2, ", \"attention_bias\": true");
        for (String trained : List.of("model.layers.1.", "mlp.down_proj", "model.norm", "lm_head", "embed_tokens")) {
            ParameterPlan plan = ParameterPlan.partly(spec, name -> name.contains(trained));
            try (Parameters all = SmallModels.parameters(spec, ComputeType.FLOAT32);
                    Parameters some = new Parameters(plan, ComputeType.FLOAT32, all.device())) {
                copy(all, some);
                Map<String, double[]> expected = new LinkedHashMap<>();
                Map<String, double[]> actual = new LinkedHashMap<>();

                double loss = run(spec, all, new SingleRank("one"), how, expected);
                double sameLoss = run(spec, some, new SingleRank("one"), how, actual);

                assertThat(sameLoss).isEqualTo(loss);
                assertThat(actual.keySet()).isNotEmpty().allMatch(name -> name.contains(trained));
                assertThat(some.elements()).isEqualTo(plan.trainedElements()).isLessThan(all.elements());
                actual.forEach((name, gradient) -> assertThat(gradient).as(name).isEqualTo(of(name, expected)));
            }
        }
    }

    /** With dropout the loss is still a function of the adapter: a step along a direction changes it as the gradient says. */
    @ParameterizedTest(name = "dropout {0}")
    @ValueSource(doubles = {0, 0.3})
    void gradientsOfAnAdapterAreThoseOfTheLoss(double dropout) {
        ModelSpec spec = SmallModels.llama();
        LoraSpec lora = new LoraSpec(4, 8, dropout, false, LoraSpec.allLinear(spec), List.of("lm_head"));
        try (Parameters parameters =
                        new Parameters(ParameterPlan.adapter(spec, lora), ComputeType.FLOAT32, new Device("cpu"));
                TensorScope scope = TensorScope.open()) {
            InitialWeights weights = new InitialWeights(spec, parameters);
            weights.draw(7);
            weights.drawAdapter(lora, 7);
            Random random = new Random(6);
            parameters.master().add_(noise(random, parameters).mul_(new Scalar(0.2)));
            for (Parameter parameter : parameters.trained()) {
                CausalLm model = new CausalLm(
                        spec,
                        parameters,
                        Optional.of(new CausalLm.Adapter(lora, 3)),
                        RECOMPUTING,
                        new SingleRank("one"));
                SequenceStep step = new SequenceStep(model, new NextToken(model.head()), new SingleRank("one"));
                parameters.zeroGradients();
                double loss = step.forwardBackward(BATCH, 1).loss();
                double expected = TensorArrays.innerProduct(parameter.gradient(), parameter.gradient());
                double length = 1e-2 / Math.sqrt(expected);
                Tensor direction = parameter.gradient().mul(new Scalar(length / Math.sqrt(expected)));
                Tensor value = parameter.value().detach();

                value.add_(direction);
                double ahead = step.forwardBackward(BATCH, 1).loss();
                value.sub_(direction.mul(new Scalar(2.0)));
                double behind = step.forwardBackward(BATCH, 1).loss();
                value.add_(direction);

                double measured = (ahead - behind) / 2;
                assertThat(measured / (length * Math.sqrt(expected)))
                        .as("%s, loss %s", parameter.name(), loss)
                        .isCloseTo(1, within(5e-3));
            }
        }
    }

    private static CausalLm.Layers keeping(ActivationMemory memory) {
        return new CausalLm.Layers(ParallelConfig.Device.CPU, memory);
    }

    private static Tensor noise(Random random, Parameters parameters) {
        return TensorArrays.gaussian(random, parameters.elements()).to(torch.ScalarType.Float);
    }

    private static void copy(Parameters from, Parameters to) {
        try (TensorScope scope = TensorScope.open()) {
            for (Parameter parameter : from.all()) {
                Tensor value = parameter.value().detach();
                to.start(parameter.name(), value.view(value.numel()));
            }
        }
    }

    /** The tied head adds to what the embedding got, and the other way round: the gradient is the sum of both uses. */
    @Test
    void theGradientOfATiedHeadIsTheSumOfBothUses() {
        ModelSpec tied = SmallModels.spec("llama", 4, 2, ", \"tie_word_embeddings\": true");
        ModelSpec untied = SmallModels.llama();
        try (Parameters one = SmallModels.parameters(tied, ComputeType.FLOAT32);
                Parameters two = new Parameters(untied, ComputeType.FLOAT32, one.device());
                TensorScope scope = TensorScope.open()) {
            for (String name : tied.parameters().stream().map(p -> p.name()).toList()) {
                two.get(name).value().detach().copy_(one.get(name).value());
            }
            two.get(ModelSpec.HEAD)
                    .value()
                    .detach()
                    .copy_(one.get(ModelSpec.EMBEDDING).value());
            Map<String, double[]> ofTied = new LinkedHashMap<>();
            Map<String, double[]> ofUntied = new LinkedHashMap<>();

            run(tied, one, new SingleRank("one"), RECOMPUTING, ofTied);
            run(untied, two, new SingleRank("one"), RECOMPUTING, ofUntied);

            double[] sum = of(ModelSpec.EMBEDDING, ofUntied).clone();
            double[] ofHead = of(ModelSpec.HEAD, ofUntied);
            for (int i = 0; i < sum.length; i++) {
                sum[i] += ofHead[i];
            }
            assertThat(TensorArrays.relative(of(ModelSpec.EMBEDDING, ofTied), sum))
                    .isLessThan(1e-6);
        }
    }

    /** Gradients are linear in what comes in: backward may scale by the loss's divisor at the very end. */
    @Test
    void theChainGivesTheGradientOfItsInput() {
        ModelSpec spec = SmallModels.llama();
        try (Parameters parameters = SmallModels.parameters(spec, ComputeType.FLOAT32);
                TensorScope scope = TensorScope.open()) {
            CausalLm model = model(spec, parameters, new SingleRank("one"), RECOMPUTING);
            Segment layers = model.on(new SequenceLayout(BATCH.documentEnds()), BATCH.positions());
            Random random = new Random(5);
            Tensor x = gaussian(random, spec);
            Tensor direction = gaussian(random, spec);
            Tensor dOutput = gaussian(random, spec);
            Tensor dx;
            try (Segment.Pass pass = layers.forward(x)) {
                dx = pass.backward(dOutput);
            }

            double step = 1e-2;
            Tensor ahead = layers.infer(x.add(direction.mul(new Scalar(step))));
            Tensor behind = layers.infer(x.sub(direction.mul(new Scalar(step))));
            double measured = TensorArrays.innerProduct(ahead.sub(behind), dOutput) / (2 * step);

            assertThat(TensorArrays.innerProduct(dx, direction) / measured).isCloseTo(1, within(2e-3));
        }
    }

    private static double[] of(String name, Map<String, double[]> gradients) {
        return Objects.requireNonNull(gradients.get(name));
    }

    private static double[] joined(Map<String, double[]> gradients) {
        return gradients.values().stream().flatMapToDouble(Arrays::stream).toArray();
    }

    private static Tensor gaussian(Random random, ModelSpec spec) {
        return TensorArrays.gaussian(random, BATCH.length(), spec.hiddenSize()).to(torch.ScalarType.Float);
    }

    private static CausalLm model(ModelSpec spec, Parameters parameters, Collectives group, CausalLm.Layers how) {
        return new CausalLm(spec, parameters, how, group);
    }

    private static double run(
            ModelSpec spec,
            Parameters parameters,
            Collectives group,
            CausalLm.Layers how,
            Map<String, double[]> gradients) {
        CausalLm model = model(spec, parameters, group, how);
        parameters.zeroGradients();
        double loss = new SequenceStep(model, new NextToken(model.head()), group)
                .forwardBackward(BATCH, BATCH.trainedTokens())
                .loss();
        parameters.trained().forEach(p -> gradients.put(p.name(), TensorArrays.values(p.gradient())));
        return loss;
    }
}
