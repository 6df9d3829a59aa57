package ulysses.driver.launch;

import java.io.Serializable;
import java.util.List;

/**
 * What differs from one attempt of a run to the next.
 *
 * @param number from 1
 * @param driver where tasks report to
 * @param leftOut hosts, as Spark names them, that get no rank
 */
record Attempt(int number, RunAddress driver, List<String> leftOut) implements Serializable {
    private static final long serialVersionUID = 1L;

    Attempt {
        leftOut = List.copyOf(leftOut);
    }
}
