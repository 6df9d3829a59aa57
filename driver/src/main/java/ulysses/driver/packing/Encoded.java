package ulysses.driver.packing;

import java.io.Serializable;

/** What became of one example. */
public sealed interface Encoded extends Serializable permits EncodedExample, EncodedPair, Encoded.Dropped {

    /**
     * Nothing is trained on this example.
     *
     * @param reason short and the same for all rows of its kind, for the report
     */
    record Dropped(String reason) implements Encoded {}
}
