package ulysses.driver.packing;

import java.io.Serializable;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.api.java.function.PairFlatMapFunction;
import org.apache.spark.broadcast.Broadcast;
import scala.Tuple2;
import ulysses.driver.dataset.SourceRow;
import ulysses.driver.packing.PrepareReport.Row;
import ulysses.runtime.data.DataException;

/** Encodes the rows of one set and says where they belong; rows of the other set are left out. */
final class EncodeRows implements PairFlatMapFunction<SourceRow, Place, PlacedExample> {
    private static final long serialVersionUID = 1L;

    private final ExampleEncoder encoder;
    private final Membership membership;
    private final ShardPlan plan;

    /** The place of a row in a set; negative when the row is not in it. */
    @FunctionalInterface
    interface Membership extends Serializable {
        long place(long rowNumber);

        static Membership all() {
            return rowNumber -> rowNumber;
        }

        static Membership training(Broadcast<ValidationSplit> split) {
            return rowNumber -> split.value().places()[(int) rowNumber];
        }

        static Membership validation(Broadcast<ValidationSplit> split) {
            return rowNumber -> -split.value().places()[(int) rowNumber] - 1L;
        }
    }

    EncodeRows(ExampleEncoder encoder, Membership membership, ShardPlan plan) {
        this.encoder = encoder;
        this.membership = membership;
        this.plan = plan;
    }

    @Override
    public Iterator<Tuple2<Place, PlacedExample>> call(SourceRow source) {
        long place = membership.place(source.rowNumber());
        if (place < 0) {
            return List.<Tuple2<Place, PlacedExample>>of().iterator();
        }
        Row row = new Row(source.rowNumber(), source.dataset(), source.fileRow());
        PlacedExample example = new PlacedExample(row, encode(source));
        return List.of(new Tuple2<>(plan.place(source.rowNumber(), place), example))
                .iterator();
    }

    private Encoded encode(SourceRow source) {
        try {
            return encoder.encode(source.example());
        } catch (DataException e) {
            throw new DataException(
                    "row %d of dataset %s: %s".formatted(source.fileRow(), source.dataset(), e.getMessage()), e);
        }
    }
}
