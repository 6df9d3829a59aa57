package ulysses.runtime.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.data.RowDealing.Meeting;
import ulysses.runtime.mesh.RankMesh;

/**
 * The batches of one rank, in a fixed order: every rank of a sequence-parallel group gets the same ones and cuts its own part.
 * Place i of an epoch goes to micro-batch i / (rows a group takes * groups), so the rows of a step are the same set for every mesh
 * with the same global batch; Hugging Face's Trainer and accelerate deal them the same way. {@link #balanced} deals the rows of a step
 * by their costs instead. In the last step of an epoch rows may be missing; a group without any gets padding only, so that all groups make the same number of micro-batches. The step number is
 * the whole cursor.
 */
public final class RankBatches {
    private final PackedDataset dataset;
    private final RowOrder order;
    private final Dealing dealing;
    private final long totalSteps;
    private final Optional<Balance> balance;

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

    private record Balance(RowCost cost, Meeting meeting) {}

    private RankBatches(PackedDataset dataset, RowOrder order, Dealing dealing, double epochs, int maxSteps) {
        this.dataset = dataset;
        this.order = order;
        this.dealing = dealing;
        this.balance = Optional.empty();
        this.totalSteps = maxSteps > 0 ? maxSteps : (long) Math.ceil(epochs * stepsPerEpoch());
    }

    private RankBatches(RankBatches other, Balance balance) {
        this.dataset = other.dataset;
        this.order = other.order;
        this.totalSteps = other.totalSteps;
        this.dealing = other.dealing;
        this.balance = Optional.of(balance);
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

    /**
     * The same rows in each step, dealt to groups so that these wait little for each other. Which rows a group gets depends on the
     * rows of the step alone; with one group nothing changes.
     */
    public RankBatches balanced(RowCost cost, Meeting meeting) {
        return new RankBatches(this, new Balance(cost, meeting));
    }

    /**
     * Share of time that groups would wait for each other in the first {@code steps} steps, if a row took its cost. Reads all their
     * rows.
     *
     * @param cost of a row
     */
    public double expectedWait(RowCost cost, Meeting meeting, long steps) {
        RowDealing.Load all = new RowDealing.Load(0, 0);
        for (long step = 0; step < Math.min(steps, totalSteps); step++) {
            Rows rows = rows(step);
            RowDealing.Load load = rows.dealing().load(rows.dealt(), costs(rows, cost), meeting);
            all = all.plus(load);
        }
        return all.waitShare();
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
     * The batches of step {@code step}, counted from 0 over all epochs. Reads the rows of this group only, unless rows are dealt by cost.
     *
     * @throws DataException if a row is damaged
     */
    public StepBatches step(long step) throws IOException {
        if (step < 0) {
            throw new IndexOutOfBoundsException("step " + step);
        }
        Rows rows = rows(step);
        List<MicroBatch> microBatches = new ArrayList<>();
        for (int microBatch = 0; microBatch < rows.dealing().microBatches(); microBatch++) {
            List<Integer> mine = rows.of(dealing.group(), microBatch);
            List<PackedRow> read = new ArrayList<>();
            for (int row : mine) {
                read.add(dataset.row(rows.number(row)));
            }
            long[] places = mine.stream().mapToLong(rows::placeInRun).toArray();
            microBatches.add(MicroBatch.of(read, dealing.multiple(), places));
        }
        long trained = 0;
        long tokens = 0;
        long documents = 0;
        for (int i = 0; i < rows.count(); i++) {
            long row = rows.number(i);
            trained += dataset.rowTrainedTokens(row);
            tokens += dataset.rowTokens(row);
            documents += dataset.rowDocuments(row);
        }
        return new StepBatches(microBatches, trained, tokens, documents, rows.count(), rows.endsEpoch());
    }

    /** Numbers of the rows that data-parallel rank {@code group} takes in its {@code microBatch}-th micro-batch of step {@code step}. */
    public List<Long> rowNumbers(long step, int group, int microBatch) {
        Rows rows = rows(step);
        return rows.of(group, microBatch).stream().map(rows::number).toList();
    }

    /** Numbers of all rows of step {@code step}, all groups and micro-batches together. */
    public List<Long> rowNumbers(long step) {
        Rows rows = rows(step);
        return rows.dealt().stream().flatMap(List::stream).map(rows::number).toList();
    }

    /**
     * The rows of one step, counted from 0 in the order of the epoch.
     *
     * @param firstPlace of the first one in the epoch
     * @param count how many
     * @param dealing to groups and micro-batches
     * @param dealt what each micro-batch of each group gets
     */
    private record Rows(
            RankBatches batches,
            long epoch,
            long firstPlace,
            int count,
            RowDealing dealing,
            List<List<Integer>> dealt) {

        List<Integer> of(int group, int microBatch) {
            return dealt.get(microBatch * dealing.groups() + group);
        }

        long number(int row) {
            return batches.order.row(epoch, firstPlace + row);
        }

        long placeInRun(int row) {
            return epoch * batches.dataset.rows() + firstPlace + row;
        }

        boolean endsEpoch() {
            return firstPlace + count == batches.dataset.rows();
        }
    }

    private Rows rows(long step) {
        long epoch = step / stepsPerEpoch();
        long first = step % stepsPerEpoch() * dealing.accumulation();
        long end = Math.min(first + dealing.accumulation(), microBatchesPerEpoch());
        long begin = first * dealing.rowsAtOnce();
        int count = Math.toIntExact(Math.min(end * dealing.rowsAtOnce(), dataset.rows()) - begin);
        RowDealing ofStep = new RowDealing(dealing.groups(), Math.toIntExact(end - first), dealing.rowsPerGroup());
        Rows inOrder = new Rows(this, epoch, begin, count, ofStep, ofStep.inOrder(count));
        if (balance.isEmpty() || dealing.groups() == 1) {
            return inOrder;
        }
        List<List<Integer>> dealt = ofStep.balanced(
                costs(inOrder, balance.get().cost()), balance.get().meeting());
        return new Rows(this, epoch, begin, count, ofStep, dealt);
    }

    private double[] costs(Rows rows, RowCost cost) {
        double[] costs = new double[rows.count()];
        for (int row = 0; row < costs.length; row++) {
            try {
                costs[row] = cost.of(dataset.row(rows.number(row)));
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
        return costs;
    }

    private static long ceilDivide(long dividend, long divisor) {
        return (dividend + divisor - 1) / divisor;
    }
}
