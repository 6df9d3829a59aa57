package ulysses.driver.launch;

import java.time.Duration;
import java.util.Optional;
import ulysses.runtime.mesh.RankEvent;

/**
 * A run that ended well.
 *
 * @param attempts how many it took
 * @param lastStep the last step that was reported; empty when there was nothing left to do
 * @param saved the newest checkpoint
 * @param duration all attempts together
 */
public record RunOutcome(
        int attempts, Optional<RankEvent.Step> lastStep, Optional<RankEvent.Saved> saved, Duration duration) {}
