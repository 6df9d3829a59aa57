package ulysses.runtime.checkpoint;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.SafetensorsFile;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.TensorData;
import ulysses.runtime.weights.WeightFile;
import ulysses.runtime.weights.WrittenFile;

/**
 * Reads the tensors of a checkpoint by state, parameter and range of elements, whatever ranks wrote them; lives while ranks load.
 * Slices of a parameter are put together across files.
 */
public final class CheckpointReader implements AutoCloseable {
    private final Checkpoint checkpoint;
    private final List<SafetensorsFile> files = new ArrayList<>();
    private final Map<String, TreeMap<String, List<Piece>>> pieces = new HashMap<>();

    private record Piece(SafetensorsFile file, WeightFile.TensorInfo tensor, long first) {
        long end() {
            return first + tensor.elements();
        }
    }

    private CheckpointReader(Checkpoint checkpoint) {
        this.checkpoint = checkpoint;
    }

    /** Opens all tensor files of {@code checkpoint}. */
    public static CheckpointReader open(Checkpoint checkpoint) {
        CheckpointReader reader = new CheckpointReader(checkpoint);
        try {
            for (WrittenFile file : checkpoint.manifest().files()) {
                if (file.name().endsWith(".safetensors")) {
                    reader.add(SafetensorsFile.open(checkpoint.folder(), file.name()));
                }
            }
            reader.pieces.values().forEach(byParameter -> byParameter.values().forEach(reader::sortAndCheck));
            return reader;
        } catch (RuntimeException e) {
            reader.close();
            throw e;
        }
    }

    private void add(SafetensorsFile file) {
        files.add(file);
        for (WeightFile.TensorInfo tensor : file.tensors().values()) {
            StateTensor name = StateTensor.parse(tensor.name());
            pieces.computeIfAbsent(name.state(), state -> new TreeMap<>())
                    .computeIfAbsent(name.parameter(), parameter -> new ArrayList<>())
                    .add(new Piece(file, tensor, name.firstElement()));
        }
    }

    private void sortAndCheck(List<Piece> ofParameter) {
        ofParameter.sort(Comparator.comparingLong(Piece::first).thenComparingLong(Piece::end));
        for (int i = 1; i < ofParameter.size(); i++) {
            Piece before = ofParameter.get(i - 1);
            if (ofParameter.get(i).first() < before.end()) {
                throw new StorageException("%s holds elements of %s twice; use the checkpoint before it"
                        .formatted(checkpoint.path(), before.tensor().name()));
            }
        }
    }

    /** States that are there, such as {@code exp_avg}. */
    public Set<String> states() {
        return Set.copyOf(pieces.keySet());
    }

    /** Parameters that have {@code state}, sorted. */
    public Set<String> parameters(String state) {
        return new TreeSet<>(pieces.getOrDefault(state, new TreeMap<>()).keySet());
    }

    /** How many elements of {@code parameter}'s {@code state} are there. */
    public long elements(String state, String parameter) {
        return find(state, parameter).stream()
                .mapToLong(piece -> piece.tensor().elements())
                .sum();
    }

    /** Type of the elements. */
    public DataType type(String state, String parameter) {
        return find(state, parameter).get(0).tensor().type();
    }

    /** Fills {@code into} up to its limit with elements as they are stored, from {@code firstElement} on. */
    public void read(String state, String parameter, long firstElement, ByteBuffer into) {
        int width = type(state, parameter).bytes();
        copy(
                state,
                parameter,
                firstElement,
                into,
                width,
                (piece, offset, part) -> piece.file().read(piece.tensor().name(), offset * width, part));
    }

    /** Fills {@code into} up to its limit with elements from {@code firstElement} on, widened to little-endian float32. */
    public void readFloat32(String state, String parameter, long firstElement, ByteBuffer into) {
        copy(
                state,
                parameter,
                firstElement,
                into,
                4,
                (piece, offset, part) -> piece.file().readFloat32(piece.tensor().name(), offset, part));
    }

    private interface PieceRead {
        void read(Piece piece, long elementOffset, ByteBuffer part);
    }

    private void copy(String state, String parameter, long firstElement, ByteBuffer into, int width, PieceRead read) {
        long next = firstElement;
        int limit = into.limit();
        for (Piece piece : find(state, parameter)) {
            if (into.position() < limit && piece.first() <= next && next < piece.end()) {
                long count = Math.min(piece.end() - next, (limit - into.position()) / width);
                into.limit(into.position() + Math.toIntExact(count * width));
                read.read(piece, next - piece.first(), into);
                into.limit(limit);
                next += count;
            }
        }
        if (into.position() < limit) {
            throw new StorageException("%s holds no %s of %s from element %d on; use the checkpoint before it"
                    .formatted(checkpoint.path(), state, parameter, next));
        }
    }

    /** The weight {@code parameter} as it is stored, for writing elsewhere. */
    public TensorData weight(String parameter) {
        return find(StateTensor.MODEL, parameter).get(0).file().data(parameter);
    }

    private List<Piece> find(String state, String parameter) {
        List<Piece> found = pieces.getOrDefault(state, new TreeMap<>()).get(parameter);
        if (found == null) {
            throw new StorageException(
                    "%s holds no %s of %s; check that it belongs to this model and that save_only_model was off"
                            .formatted(checkpoint.path(), state, parameter));
        }
        return found;
    }

    @Override
    public void close() {
        files.forEach(SafetensorsFile::close);
        files.clear();
    }
}
