package ulysses.driver.report;

import java.util.function.Consumer;
import ulysses.runtime.mesh.RankEvent;

/** Something that is told of a run as it goes on, and once how it ended. */
public interface RunFollower extends Consumer<RankEvent> {

    /** The run has ended; nothing follows. May be called twice. */
    void end(RunRecord.Ending ending);
}
