package ulysses.runtime.data;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.mesh.RankMesh;

/**
 * The batches of one rank, in a fixed order: every rank of a sequence-parallel group gets the same ones and cuts its own part.
 * Place i of an epoch goes to micro-batch i / (rows a group takes * groups), so the rows of a step are the same set for every mesh
 * with the same global batch; Hugging Face's Trainer and accelerate deal them the same way. In the last step of an epoch rows may
 * be missing; a group without any gets padding only, so that all groups make the same number of micro-batches. The step number is
 * the whole cursor.
 */
public final class RankBatches {
    private final PackedDataset dataset;
    private final RowOrder order;
    private final Dealing dealing;
    private final long totalSteps;

    /** How rows are dealt to ranks; multiple is what lengths are padded to. */
    private record Dealing(int groups, int group, int rowsPerGroup, int accumulation, int multiple) {
        Dealing {
            if (rowsPerGroup < 1 || accumulation < 1) {
                throw new IllegalArgumentException(
                        "%d rows a micro-batch and %d micro-batches a step; both are at least 1"
                                .formatted(rowsPerGroup, accumulation));
            }
        }

        private static Dealing of(RankMesh mesh, int worldRank, int rowsPerGroup, int accumulation) {
            return new Dealing(
                    mesh.dataParallelSize(),
                    mesh.dataParallelRank(worldRank),
                    rowsPerGroup,
                    accumulation,
                    mesh.sequenceParallelSize());
        }

        private long rowsAtOnce() {
            return (long) groups * rowsPerGroup;
        }
    }

    private RankBatches(PackedDataset dataset, RowOrder order, Dealing dealing, double epochs, int maxSteps) {
        this.dataset = dataset;
        this.order = order;
        this.dealing = dealing;
        this.totalSteps = maxSteps > 0 ? maxSteps : (long) Math.ceil(epochs * stepsPerEpoch());
    }

    /** Batches for training; {@code epochs}, {@code maxSteps}, seed and shuffling are those of {@code step}. */
    public static RankBatches training(PackedDataset dataset, RankMesh mesh, int worldRank, StepConfig step) {
        RowOrder order = step.shuffle() ? RowOrder.shuffled(dataset.rows(), step.dataSeed()) : RowOrder.inFileOrder();
        Dealing dealing = Dealing.of(mesh, worldRank, step.rowsPerRank(), step.accumulation());
        return new RankBatches(dataset, order, dealing, step.epochs(), step.maxSteps());
    }

    /** All rows once, in file order; each step is one micro-batch. */
    public static RankBatches evaluation(PackedDataset dataset, RankMesh mesh, int worldRank, int rowsPerRank) {
        return new RankBatches(dataset, RowOrder.inFileOrder(), Dealing.of(mesh, worldRank, rowsPerRank, 1), 1, 0);
    }

    /** The same batches with lengths padded to a multiple of {@code alignment} times P, which some kernels like. */
    public RankBatches withAlignment(int alignment) {
        int multiple = Math.multiplyExact(dealing.multiple(), alignment);
        Dealing aligned = new Dealing(
                dealing.groups(), dealing.group(), dealing.rowsPerGroup(), dealing.accumulation(), multiple);
        return new RankBatches(dataset, order, aligned, 0, Math.toIntExact(totalSteps));
    }

    /** Optimizer steps of the run: {@code max_steps}, or ceil(epochs * steps per epoch). */
    public long totalSteps() {
        return totalSteps;
    }

    /** Micro-batches that each group makes in an epoch. */
    public long microBatchesPerEpoch() {
        return ceilDivide(dataset.rows(), dealing.rowsAtOnce());
    }

    /** Optimizer steps of an epoch; the last one may have fewer micro-batches. */
    public long stepsPerEpoch() {
        return Math.max(ceilDivide(microBatchesPerEpoch(), dealing.accumulation()), 1);
    }

    /** Epochs done after {@code steps} steps, fractional, as Hugging Face logs it. */
    public double epochAt(long steps) {
        long rest = Math.min((steps % stepsPerEpoch()) * dealing.accumulation(), microBatchesPerEpoch());
        long wholeEpochs = steps / stepsPerEpoch();
        return wholeEpochs + rest / (double) microBatchesPerEpoch();
    }

    /**
     * The batches of step {@code step}, counted from 0 over all epochs. Reads the rows of this group only.
     *
     * @throws DataException if a row is damaged
     */
    public StepBatches step(long step) throws IOException {
        if (step < 0) {
            throw new IndexOutOfBoundsException("step " + step);
        }
        long epoch = step / stepsPerEpoch();
        long first = step % stepsPerEpoch() * dealing.accumulation();
        long end = Math.min(first + dealing.accumulation(), microBatchesPerEpoch());
        List<MicroBatch> microBatches = new ArrayList<>();
        for (long microBatch = first; microBatch < end; microBatch++) {
            long place = firstPlace(microBatch);
            microBatches.add(MicroBatch.of(rows(epoch, place), dealing.multiple(), epoch * dataset.rows() + place));
        }
        long trained = 0;
        long tokens = 0;
        long documents = 0;
        long beginPlace = first * dealing.rowsAtOnce();
        long endPlace = Math.min(end * dealing.rowsAtOnce(), dataset.rows());
        for (long place = beginPlace; place < endPlace; place++) {
            long row = order.row(epoch, place);
            trained += dataset.rowTrainedTokens(row);
            tokens += dataset.rowTokens(row);
            documents += dataset.rowDocuments(row);
        }
        int globalRows = Math.toIntExact(endPlace - beginPlace);
        return new StepBatches(microBatches, trained, tokens, documents, globalRows, end == microBatchesPerEpoch());
    }

    /** Numbers of the rows that data-parallel rank {@code group} takes in its {@code microBatch}-th micro-batch of step {@code step}. */
    public List<Long> rowNumbers(long step, int group, int microBatch) {
        long first = step % stepsPerEpoch() * dealing.accumulation();
        return rowNumbers(step / stepsPerEpoch(), firstPlace(group, first + microBatch));
    }

    /** Numbers of all rows of step {@code step}, all groups and micro-batches together. */
    public List<Long> rowNumbers(long step) {
        List<Long> numbers = new ArrayList<>();
        for (int microBatch = 0; microBatch < dealing.accumulation(); microBatch++) {
            for (int group = 0; group < dealing.groups(); group++) {
                numbers.addAll(rowNumbers(step, group, microBatch));
            }
        }
        return numbers;
    }

    /** Place in the epoch of this group's first row of {@code microBatch}. */
    private long firstPlace(long microBatch) {
        return firstPlace(dealing.group(), microBatch);
    }

    private long firstPlace(int group, long microBatch) {
        return (microBatch * dealing.groups() + group) * dealing.rowsPerGroup();
    }

    private List<Long> rowNumbers(long epoch, long firstPlace) {
        long end = Math.min(firstPlace + dealing.rowsPerGroup(), dataset.rows());
        List<Long> numbers = new ArrayList<>();
        for (long place = firstPlace; place < end; place++) {
            numbers.add(order.row(epoch, place));
        }
        return numbers;
    }

    private List<PackedRow> rows(long epoch, long firstPlace) throws IOException {
        List<PackedRow> rows = new ArrayList<>();
        for (long number : rowNumbers(epoch, firstPlace)) {
            rows.add(dataset.row(number));
        }
        return rows;
    }

    private static long ceilDivide(long dividend, long divisor) {
        return (dividend + divisor - 1) / divisor;
    }
}
