package ulysses.runtime.model;

import java.util.List;
import java.util.stream.LongStream;
import org.bytedeco.pytorch.Tensor;

/**
 * Tokens {@code first} to {@code first + tokens} of this rank's part of a sequence: what knows no other token is computed for one tile
 * after the other (ALST, arXiv:2506.13996, section 3).
 */
record Tile(long first, long tokens) {

    /** All tiles of {@code length} tokens, each of {@code most} tokens but for the last. */
    static List<Tile> of(long length, long most) {
        return LongStream.iterate(0, first -> first < length, first -> first + most)
                .mapToObj(first -> new Tile(first, Math.min(most, length - first)))
                .toList();
    }

    /** The rows of {@code x} that belong to it; a view in the caller's scope. */
    Tensor in(Tensor x) {
        return x.narrow(0, first, tokens);
    }

    /** The part of {@code dropout} that belongs to it. */
    AdapterDropout in(AdapterDropout dropout) {
        return dropout.part(first, tokens);
    }

    /** The part of {@code rotation} that belongs to it; in the caller's scope. */
    RotaryEmbedding.Rotation in(RotaryEmbedding.Rotation rotation) {
        return new RotaryEmbedding.Rotation(in(rotation.cos()), in(rotation.sin()));
    }
}
