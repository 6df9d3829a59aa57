package ulysses.driver.plan;

import java.util.List;
import java.util.stream.Stream;
import ulysses.driver.plan.MemoryEstimate.Line;
import ulysses.driver.plan.MemoryEstimate.Moment;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterBlock;
import ulysses.runtime.weights.ParameterPlan;

/**
 * Weights, gradients and optimizer states of a rank by ZeRO's stage, and what a micro-batch holds of parts that are gathered or on
 * their way to their owners. Blocks and their filling are those of the runtime.
 */
final class StateMemory {
    private static final String HEAD = ParameterBlock.partOf(ModelSpec.HEAD);
    private static final String EMBEDDING = ParameterBlock.partOf(ModelSpec.EMBEDDING);

    private final RunShape shape;
    private final int stage;
    private final int ranks;
    private final int width;
    private final String type;
    private final List<ParameterBlock> trained;
    private final List<ParameterBlock> frozen;

    /** Of a rank of {@code shape}. */
    StateMemory(RunShape shape) {
        ParameterPlan plan = shape.tuned().plan();
        this.shape = shape;
        this.stage = shape.mesh().stage();
        this.ranks = shape.mesh().ranks();
        this.width = shape.elementBytes();
        this.type = shape.isBfloat16() ? "bfloat16" : "float32";
        this.trained = stage == 0 ? List.of(ParameterBlock.whole(plan)) : ParameterBlock.trained(plan, ranks);
        this.frozen = ParameterBlock.frozen(plan, stage == 3 ? ranks : 1);
    }

    /** Adds a line for each kind of state. */
    void addTo(List<Line> lines) {
        if (!frozen.isEmpty()) {
            add(lines, "frozen weights", width, elements(frozen), 3, type);
        }
        if (shape.comparison().askedOnly() > 0) {
            String how = type + "; precompute_ref_logps: true needs none while training";
            add(lines, "reference model", width, shape.comparison().askedOnly(), 3, how);
        }
        String weights = shape.isBfloat16() ? type : type + "; they are the master weights too";
        add(lines, "weights", width, elements(trained), 3, weights);
        if (shape.isBfloat16()) {
            addOptimizerState(lines, "master weights", 4, "float32");
        }
        add(lines, "gradients", 4, elements(trained), 2, "float32");
        addOptimizerState(lines, "AdamW's moments", 8, "two, float32");
        if (shape.mesh().states().saves() && shape.device() == Device.CPU) {
            addCheckpoint(lines);
        }
        if (stage >= 2) {
            addGradientsOnTheirWay(lines);
        }
        if (stage == 3) {
            addGathered(lines);
        }
    }

    private void add(List<Line> lines, String name, int bytes, long elements, int cutFrom, String how) {
        boolean cut = stage >= cutFrom;
        long held = bytes * (cut ? elements / ranks : elements);
        lines.add(new Line(Moment.RUN, name, held, cut ? how + "; one of %d slices".formatted(ranks) : how));
    }

    private void addOptimizerState(List<Line> lines, String name, int bytes, String how) {
        if (!shape.mesh().states().offloadsOptimizer()) {
            add(lines, name, bytes, elements(trained), 1, how);
            return;
        }
        String place = shape.device() == Device.CPU ? "mapped files, written out where memory is short" : "host memory";
        long held = bytes * (stage >= 1 ? elements(trained) / ranks : elements(trained));
        lines.add(
                new Line(Moment.RUN, name, 0, "%s; %.2f GiB in %s".formatted(how, (double) held / (1L << 30), place)));
    }

    /** Weights as they are stored, moments, and master weights where they are not the weights; each rank writes a part. */
    private void addCheckpoint(List<Line> lines) {
        boolean adapterAlone = shape.tuned().adapter().isPresent();
        long weights =
                adapterAlone ? 4 * shape.trained() : width * shape.model().parameterCount();
        int states = shape.isBfloat16() && !adapterAlone ? 12 : 8;
        lines.add(new Line(
                Moment.RUN,
                "checkpoint's copy",
                (weights + states * shape.trained()) / ranks,
                "while it is written; save_strategy: no needs none"));
    }

    /** One layer's are made while those of the layer above are summed; on CPU the sum takes a buffer of their size. */
    private void addGradientsOnTheirWay(List<Line> lines) {
        long layer = largestLayer(trained);
        int buffers = shape.device() == Device.CPU ? 3 : 2;
        lines.add(new Line(
                Moment.MICRO_BATCH,
                "layer gradients",
                4 * layer * buffers,
                "float32; made, and on their way to owners"));
        long head = part(trained, headPart());
        if (head > 0) {
            Moment moment = headPart().equals(EMBEDDING) ? Moment.MICRO_BATCH : Moment.LOSS;
            lines.add(new Line(moment, "head's gradient", 4 * head, "float32, whole"));
        }
    }

    /** Gloo gathers into a buffer of its own and copies. */
    private void addGathered(List<Line> lines) {
        int copies = shape.device() == Device.CPU ? 2 : 1;
        long layer = largestLayer(trained) + largestLayer(frozen);
        lines.add(new Line(
                Moment.MICRO_BATCH, "gathered layers", 2L * copies * width * layer, type + "; one, and the next"));
        long head = part(trained, headPart()) + part(frozen, headPart());
        lines.add(new Line(Moment.LOSS, "gathered head", width * head, type));
    }

    private String headPart() {
        boolean ownHead = Stream.concat(trained.stream(), frozen.stream())
                .anyMatch(block -> block.part().equals(HEAD));
        return ownHead ? HEAD : EMBEDDING;
    }

    private static long elements(List<ParameterBlock> blocks) {
        return blocks.stream().mapToLong(ParameterBlock::elements).sum();
    }

    private static long part(List<ParameterBlock> blocks, String part) {
        return elements(
                blocks.stream().filter(block -> block.part().equals(part)).toList());
    }

    private static long largestLayer(List<ParameterBlock> blocks) {
        return blocks.stream()
                .filter(ParameterBlock::isLayer)
                .mapToLong(ParameterBlock::elements)
                .max()
                .orElse(0);
    }

    /** Bytes that all ranks together hold of gradients when they are summed where they are owned, over a step; 0 where all have all. */
    long scattered() {
        int sums = stage >= 2 ? shape.batch().accumulation() : 1;
        return stage == 0 ? 0 : 4L * sums * elements(trained);
    }

    /** Bytes of weights that a rank has gathered over a step, its own slices included. */
    long gathered() {
        if (stage < 3) {
            return stage == 0 ? 0 : width * elements(trained);
        }
        long elements = Stream.concat(trained.stream(), frozen.stream())
                .mapToLong(block -> passes(block) * block.elements())
                .sum();
        return (long) shape.batch().accumulation() * width * elements;
    }

    /** How often a micro-batch gathers {@code block}: forward, and backward where it goes so far down. */
    private int passes(ParameterBlock block) {
        if (block.part().equals(EMBEDDING)) {
            return headPart().equals(EMBEDDING) ? 2 : 1;
        }
        boolean untouched = block.isLayer() && firstTrained() > layer(block.part());
        return block.part().equals(HEAD) || untouched ? 1 : 2;
    }

    /** The first layer that backward comes to. */
    private int firstTrained() {
        boolean embedding = trained.stream().anyMatch(block -> block.part().equals(EMBEDDING));
        return embedding
                ? 0
                : trained.stream()
                        .filter(ParameterBlock::isLayer)
                        .mapToInt(block -> layer(block.part()))
                        .min()
                        .orElse(shape.model().layers());
    }

    private static int layer(String part) {
        return Integer.parseInt(part.substring(part.lastIndexOf('.') + 1));
    }
}
