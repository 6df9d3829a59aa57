package ulysses.runtime.checkpoint;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The name of a tensor in a checkpoint: what state it is, of which parameter, and from which element on. A parameter's weights have
 * the parameter's own name, so that other programs find them; other states are {@code state:parameter}, and a flat slice of one is
 * {@code state:parameter@firstElement}. Nothing in a name depends on ranks, so any later layout can read it.
 *
 * @param state {@link #MODEL}, {@link #EXP_AVG}, {@link #EXP_AVG_SQ}, {@link #MASTER}
 * @param parameter its Hugging Face name
 * @param firstElement of the flattened parameter
 * @param whole whether the tensor is all of the parameter, in its shape
 */
public record StateTensor(String state, String parameter, long firstElement, boolean whole) {
    /** Weights as the model computes with them. */
    public static final String MODEL = "model";

    /** Adam's mean of gradients. */
    public static final String EXP_AVG = "exp_avg";

    /** Adam's mean of squared gradients. */
    public static final String EXP_AVG_SQ = "exp_avg_sq";

    /** Weights in float32, where the model computes with narrower ones. */
    public static final String MASTER = "master";

    private static final Pattern SLICE = Pattern.compile("(.*)@(\\d{1,18})", Pattern.DOTALL);

    /** All of {@code parameter}'s {@code state}. */
    public static StateTensor whole(String state, String parameter) {
        return new StateTensor(state, parameter, 0, true);
    }

    /** A 1-D slice of the flattened {@code parameter}'s {@code state}. */
    public static StateTensor slice(String state, String parameter, long firstElement) {
        if (state.equals(MODEL)) {
            throw new IllegalArgumentException("weights are stored whole, so that other programs can read them");
        }
        return new StateTensor(state, parameter, firstElement, false);
    }

    /** Its name in a file. */
    public String name() {
        String full = state.equals(MODEL) ? parameter : state + ":" + parameter;
        return whole ? full : full + "@" + firstElement;
    }

    /** The opposite of {@link #name}. */
    public static StateTensor parse(String name) {
        int colon = name.indexOf(':');
        if (colon < 0) {
            return whole(MODEL, name);
        }
        String state = name.substring(0, colon);
        Matcher slice = SLICE.matcher(name.substring(colon + 1));
        return slice.matches()
                ? slice(state, slice.group(1), Long.parseLong(slice.group(2)))
                : whole(state, name.substring(colon + 1));
    }
}
