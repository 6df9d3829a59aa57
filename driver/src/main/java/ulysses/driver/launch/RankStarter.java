package ulysses.driver.launch;

import java.io.IOException;
import java.io.Serializable;

/** Starts the child of a task on its executor. */
@FunctionalInterface
interface RankStarter extends Serializable {
    /** A process of the operating system, which is what a rank is. */
    RankStarter PROCESS = ProcessBuilder::start;

    /** Starts what {@code command} says. */
    Process start(ProcessBuilder command) throws IOException;
}
