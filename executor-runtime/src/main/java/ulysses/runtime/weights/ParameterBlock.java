package ulysses.runtime.weights;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Parameters that a step needs together (the embedding, one layer, the final norm, the head), flat, one behind the other, and filled up
 * to a multiple of the ranks that share them: each rank owns one slice of the same length (ZeRO, arXiv:1910.02054, section 5).
 * Pure arithmetic.
 *
 * @param part of the model, such as {@code model.layers.0}; empty where the block is the whole model
 * @param places of its parameters, in order
 * @param ranks that share it
 */
public record ParameterBlock(String part, List<Place> places, int ranks) {

    /** Slices begin at multiples of this many elements: 16 bytes in bfloat16. */
    private static final int ALIGNMENT = 8;

    private static final Pattern LAYER = Pattern.compile("model\\.layers\\.\\d+");

    /**
     * A parameter of a block.
     *
     * @param rate factor on its learning rate
     * @param first element of the block that is its first
     */
    public record Place(ParameterSpec parameter, double rate, long first) {
        long end() {
            return first + parameter.elements();
        }
    }

    /**
     * What a slice holds of one parameter.
     *
     * @param first element of the flattened parameter
     * @param offset of it within the slice
     */
    public record Piece(Place place, long first, long elements, long offset) {
        /** Whether it is all of the parameter. */
        public boolean isWhole() {
            return elements == place.parameter().elements();
        }
    }

    /**
     * Neighbours in a slice that the optimizer treats alike.
     *
     * @param offset of the first element within the slice
     */
    public record Run(long offset, long elements, double rate, boolean decayed) {
        private boolean takes(Piece piece) {
            return offset + elements == piece.offset()
                    && rate == piece.place().rate()
                    && decayed == piece.place().parameter().decayed();
        }
    }

    public ParameterBlock {
        places = List.copyOf(places);
    }

    /** Everything that {@code plan} trains as one block that nobody shares. */
    public static ParameterBlock whole(ParameterPlan plan) {
        return of("", plan.groups(), 1);
    }

    /** What {@code plan} trains, part by part in the order of the model, each shared by {@code ranks}. */
    public static List<ParameterBlock> trained(ParameterPlan plan, int ranks) {
        Map<String, List<ParameterPlan.Group>> groups = new LinkedHashMap<>();
        plan.trained()
                .forEach(parameter -> groups.computeIfAbsent(partOf(parameter.name()), part -> new ArrayList<>()));
        groups.forEach((part, ofPart) -> {
            for (ParameterPlan.Group group : plan.groups()) {
                ofPart.add(new ParameterPlan.Group(group.rate(), group.decayed(), in(part, group.parameters())));
            }
        });
        List<ParameterBlock> blocks = new ArrayList<>();
        groups.forEach((part, ofPart) -> blocks.add(of(part, ofPart, ranks)));
        return List.copyOf(blocks);
    }

    /** What {@code plan} leaves as it is, in the same way. */
    public static List<ParameterBlock> frozen(ParameterPlan plan, int ranks) {
        return trained(new ParameterPlan(List.of(), plan.frozen(), Map.of()), ranks);
    }

    private static List<ParameterSpec> in(String part, List<ParameterSpec> parameters) {
        return parameters.stream()
                .filter(parameter -> partOf(parameter.name()).equals(part))
                .toList();
    }

    private static ParameterBlock of(String part, List<ParameterPlan.Group> groups, int ranks) {
        List<Place> places = new ArrayList<>();
        long first = 0;
        for (ParameterPlan.Group group : groups) {
            for (ParameterSpec parameter : group.parameters()) {
                places.add(new Place(parameter, group.rate(), first));
                first += parameter.elements();
            }
        }
        return new ParameterBlock(part, places, ranks);
    }

    /** The part of a model that {@code parameter}, or what an adapter puts in its place or beside it, belongs to. */
    public static String partOf(String parameter) {
        String own = parameter.startsWith(LoraSpec.PREFIX) ? parameter.substring(LoraSpec.PREFIX.length()) : parameter;
        Matcher layer = LAYER.matcher(own);
        return layer.lookingAt() ? layer.group() : LoraSpec.moduleOf(own);
    }

    /** Whether it belongs to one of the layers. */
    public boolean isLayer() {
        return LAYER.matcher(part).matches();
    }

    /** Elements, the filling included. */
    public long elements() {
        long used = places.isEmpty() ? 0 : places.get(places.size() - 1).end();
        long multiple = ranks == 1 ? 1 : (long) ranks * ALIGNMENT;
        return (used + multiple - 1) / multiple * multiple;
    }

    /** Elements that each rank owns. */
    public long slice() {
        return elements() / ranks;
    }

    /** What the slice of {@code rank} holds, in order. */
    public List<Piece> pieces(int rank) {
        long begin = rank * slice();
        long end = begin + slice();
        List<Piece> pieces = new ArrayList<>();
        for (Place place : places) {
            long first = Math.max(begin, place.first());
            long last = Math.min(end, place.end());
            if (first < last) {
                pieces.add(new Piece(place, first - place.first(), last - first, first - begin));
            }
        }
        return pieces;
    }

    /** The slice of {@code rank} as the optimizer walks over it. */
    public List<Run> runs(int rank) {
        List<Run> runs = new ArrayList<>();
        for (Piece piece : pieces(rank)) {
            int last = runs.size() - 1;
            if (last >= 0 && runs.get(last).takes(piece)) {
                Run before = runs.get(last);
                runs.set(
                        last,
                        new Run(
                                before.offset(),
                                before.elements() + piece.elements(),
                                before.rate(),
                                before.decayed()));
            } else {
                boolean decayed = piece.place().parameter().decayed();
                runs.add(new Run(piece.offset(), piece.elements(), piece.place().rate(), decayed));
            }
        }
        return runs;
    }
}
