package ulysses.runtime.collective;

import org.bytedeco.pytorch.Tensor;

/** A group of one rank: copies where a result has its own tensor, and never touches the network. */
public final class SingleRank implements Collectives {
    private final String name;
    private final Traffic traffic = new Traffic();

    /** @param name what messages call this group */
    public SingleRank(String name) {
        this.name = name;
    }

    @Override
    public int rank() {
        return 0;
    }

    @Override
    public int size() {
        return 1;
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public Pending allToAll(Tensor out, Tensor in, long[] outSplits, long[] inSplits) {
        GroupChecks.allToAll(this, out, in, outSplits, inSplits);
        return copied(Operation.ALL_TO_ALL, out, in);
    }

    @Override
    public Pending allReduceSum(Tensor tensor) {
        return unchanged(Operation.ALL_REDUCE, tensor);
    }

    @Override
    public Pending allReduceMax(Tensor tensor) {
        return unchanged(Operation.ALL_REDUCE, tensor);
    }

    @Override
    public Pending reduceScatterSum(Tensor out, Tensor in) {
        GroupChecks.parts(this, Operation.REDUCE_SCATTER, in, out);
        return copied(Operation.REDUCE_SCATTER, out, in);
    }

    @Override
    public Pending allGather(Tensor out, Tensor in) {
        GroupChecks.parts(this, Operation.ALL_GATHER, out, in);
        return copied(Operation.ALL_GATHER, out, in);
    }

    @Override
    public Pending broadcast(Tensor tensor, int root) {
        GroupChecks.root(this, root);
        return unchanged(Operation.BROADCAST, tensor);
    }

    @Override
    public void barrier() {
        traffic.add(Operation.BARRIER, 0, 0);
    }

    @Override
    public Traffic traffic() {
        return traffic;
    }

    private Pending copied(Operation operation, Tensor out, Tensor in) {
        traffic.add(operation, 0, in.nbytes());
        out.view(-1).copy_(in.view(-1));
        return () -> out;
    }

    private Pending unchanged(Operation operation, Tensor tensor) {
        GroupChecks.contiguous(this, operation, tensor);
        traffic.add(operation, 0, tensor.nbytes());
        return () -> tensor;
    }
}
