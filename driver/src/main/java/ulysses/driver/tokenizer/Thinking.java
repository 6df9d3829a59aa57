package ulysses.driver.tokenizer;

import org.jspecify.annotations.Nullable;

/** What is done about thoughts before answers: {@code enable_thinking}. */
public enum Thinking {
    /** {@code true}: an answer without a thought gets an empty one in front, and it is trained. */
    TRAINED,
    /** {@code null}: the empty thought ends the prompt and is not trained. */
    PROMPTED,
    /** {@code false}: thoughts are removed, then as {@link #PROMPTED}. */
    REMOVED;

    /** From the value of {@code enable_thinking}. */
    public static Thinking of(@Nullable Boolean enabled) {
        return enabled == null ? PROMPTED : enabled ? TRAINED : REMOVED;
    }
}
