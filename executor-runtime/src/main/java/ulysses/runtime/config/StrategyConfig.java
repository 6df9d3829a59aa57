package ulysses.runtime.config;

import java.util.List;

/**
 * What is done to gradients between their sum over all ranks and clipping, numerics.md section 4: the original Ulysses project's
 * strategies. Off by default, and then without any effect.
 *
 * @param strategies those that are on, in the order they run
 * @param vanishingBelow {@code gradient_vanishing_below}: gradients vanish when the mean over tensors of mean |g| is below
 * @param explodingAbove {@code gradient_exploding_above}: and explode when it is above
 * @param noise {@code gradient_noise}: standard deviation of what {@link Strategy#NOISE} adds
 * @param smallBelow {@code gradient_small_below}: mean |g| of a tensor that {@link Strategy#SCALE} enlarges
 * @param smallFactor {@code gradient_small_factor}: by how much
 * @param rateFactor {@code gradient_lr_factor}: what {@link Strategy#LR} multiplies the learning rate of a step by
 * @param clipNorm {@code gradient_clip_norm}: norm that {@link Strategy#CLIP} leaves
 * @param centralizesAll {@code gradient_centralize_all}: embeddings, head and adapters too
 */
public record StrategyConfig(
        List<Strategy> strategies,
        double vanishingBelow,
        double explodingAbove,
        double noise,
        double smallBelow,
        double smallFactor,
        double rateFactor,
        double clipNorm,
        boolean centralizesAll) {

    /** Nothing is on; the thresholds are the original project's. */
    public static final StrategyConfig NONE = new StrategyConfig(List.of(), 1e-3, 5, 5e-3, 1e-4, 1.5, 1.2, 1, true);

    /** One strategy; they run in this order. */
    public enum Strategy {
        /** Vanishing gradients get noise. */
        NOISE,
        /** Of vanishing gradients, small tensors are enlarged. */
        SCALE,
        /** While gradients vanish, the learning rate is higher. */
        LR,
        /** Every row of a matrix gets mean 0. */
        CENTRALIZE,
        /** Exploding gradients are clipped. */
        CLIP
    }

    public StrategyConfig {
        strategies = strategies.stream().distinct().sorted().toList();
    }

    /** The same thresholds with other strategies on. */
    public StrategyConfig with(List<Strategy> others) {
        return new StrategyConfig(
                others,
                vanishingBelow,
                explodingAbove,
                noise,
                smallBelow,
                smallFactor,
                rateFactor,
                clipNorm,
                centralizesAll);
    }
}
