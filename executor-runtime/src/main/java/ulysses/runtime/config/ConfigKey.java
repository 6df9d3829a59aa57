package ulysses.runtime.config;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * One key that a YAML may hold: a line of keys.yaml.
 *
 * @param name as LLaMA-Factory spells it
 * @param type what a value must be
 * @param nullable whether null is a value
 * @param fallback the default, as text; null is null
 * @param choices the values of a choice that are supported
 * @param refusedChoices values that LLaMA-Factory takes and we refuse, for the reason why
 * @param min smallest value, or null
 * @param above a bound that values must exceed, or null
 * @param below a bound that values must stay under, or null
 * @param limits the limits in words; null means they follow from the fields above
 * @param harmless values besides the default that change nothing, although the key is ignored or refused
 * @param secret whether the value must not be shown
 * @param answer what we do with it
 * @param says what it is for, in one sentence
 * @param why why ignoring is safe, or what to do instead
 */
record ConfigKey(
        String name,
        Type type,
        boolean nullable,
        @Nullable String fallback,
        List<String> choices,
        List<String> refusedChoices,
        @Nullable Double min,
        @Nullable Double above,
        @Nullable Double below,
        @Nullable String limits,
        List<String> harmless,
        boolean secret,
        Answer answer,
        String says,
        @Nullable String why) {

    /** What a value must be. */
    enum Type {
        @JsonProperty("text")
        TEXT("text"),
        @JsonProperty("integer")
        INTEGER("a whole number"),
        @JsonProperty("number")
        NUMBER("a number"),
        @JsonProperty("boolean")
        BOOLEAN("true or false"),
        @JsonProperty("choice")
        CHOICE("a choice"),
        @JsonProperty("list")
        LIST("a list"),
        @JsonProperty("mapping")
        MAPPING("a mapping");

        private final String words;

        Type(String words) {
            this.words = words;
        }

        /** The type in words: a whole number. */
        String words() {
            return words;
        }
    }

    /** What we do with a key. */
    enum Answer {
        @JsonProperty("supported")
        SUPPORTED,
        @JsonProperty("ignored")
        IGNORED,
        @JsonProperty("refused")
        REFUSED
    }

    ConfigKey {
        choices = List.copyOf(choices);
        refusedChoices = List.copyOf(refusedChoices);
        harmless = List.copyOf(harmless);
    }

    /** The limits in words; empty if there are none. */
    String limitWords() {
        if (limits != null) {
            return limits;
        }
        if (type == Type.CHOICE) {
            return String.join(", ", choices);
        }
        String low = min != null ? ">= " + plain(min) : above != null ? "> " + plain(above) : "";
        String high = below != null ? "< " + plain(below) : "";
        return low.isEmpty() || high.isEmpty() ? low + high : low + " and " + high;
    }

    /** What is wrong with a value and what to do, or empty if it may be used. */
    Optional<String> complaint(JsonNode value) {
        if (value.isNull()) {
            return nullable ? Optional.empty() : Optional.of("is no value; " + advice());
        }
        if (answer == Answer.REFUSED) {
            return changesNothing(value) ? Optional.empty() : Optional.of("is not supported; " + why);
        }
        if (answer == Answer.IGNORED) {
            return Optional.empty();
        }
        return switch (type) {
            case TEXT -> value.isValueNode() ? Optional.empty() : Optional.of("is not one text; " + advice());
            case LIST -> listComplaint(value);
            case MAPPING -> value.isArray() ? Optional.of("is a list; write a mapping or one text") : Optional.empty();
            case CHOICE -> choiceComplaint(value);
            case BOOLEAN ->
                ScalarText.flag(value.asText()).isPresent()
                        ? Optional.empty()
                        : Optional.of("is not true or false; " + advice());
            case INTEGER ->
                numberComplaint(
                        value.asText(), ScalarText.integer(value.asText()).map(Integer::doubleValue));
            case NUMBER -> numberComplaint(value.asText(), ScalarText.number(value.asText()));
        };
    }

    /** Whether the value is the default, or one that means the same. */
    boolean changesNothing(JsonNode value) {
        String text = Setting.shown(value);
        boolean isDefault = value.isNull() ? fallback == null : fallback != null && same(text, fallback);
        return isDefault
                || harmless.stream().anyMatch(other -> same(text, other.isEmpty() ? "''" : other))
                || (value.isNull() && nullable);
    }

    /** Whether two values mean the same: 1 and 1.0, no and false. */
    boolean means(JsonNode left, JsonNode right) {
        return same(Setting.shown(left), Setting.shown(right));
    }

    private boolean same(String left, String right) {
        if (type == Type.BOOLEAN) {
            return ScalarText.flag(left).equals(ScalarText.flag(right));
        }
        Optional<Double> number = ScalarText.number(left);
        return left.equalsIgnoreCase(right)
                || (type == Type.LIST && left.equals("[]") && right.isEmpty())
                || (number.isPresent() && number.equals(ScalarText.number(right)));
    }

    private Optional<String> listComplaint(JsonNode value) {
        boolean plain = Stream.of(value)
                .flatMap(node -> node.isArray()
                        ? Stream.iterate(0, i -> i < node.size(), i -> i + 1).map(node::get)
                        : Stream.of(node))
                .allMatch(JsonNode::isValueNode);
        return plain ? Optional.empty() : Optional.of("is not a list of words; write them with commas between");
    }

    private Optional<String> choiceComplaint(JsonNode value) {
        String text = value.asText();
        if (value.isValueNode() && ScalarText.choice(text, choices).isPresent()) {
            return Optional.empty();
        }
        return ScalarText.choice(text, refusedChoices).isPresent()
                ? Optional.of("is not supported; " + why)
                : Optional.of("is not one of %s; choose one of them".formatted(String.join(", ", choices)));
    }

    private Optional<String> numberComplaint(String text, Optional<Double> number) {
        if (number.isEmpty()) {
            boolean tooLarge = type == Type.INTEGER
                    && ScalarText.number(text).filter(ConfigKey::overflows).isPresent();
            return Optional.of(
                    tooLarge ? outside("<= " + Integer.MAX_VALUE) : "is not %s; %s".formatted(type.words(), advice()));
        }
        double value = number.get();
        boolean tooLow = (min != null && value < min) || (above != null && value <= above);
        boolean tooHigh = below != null && value >= below;
        return tooLow || tooHigh ? Optional.of(outside(limitWords())) : Optional.empty();
    }

    private static boolean overflows(double value) {
        return Math.abs(value) > Integer.MAX_VALUE;
    }

    private String outside(String limit) {
        return "is outside its limit (%s); choose a value within it, or %s".formatted(limit, removeTheLine());
    }

    private String advice() {
        return "write %s, or %s".formatted(type.words(), removeTheLine());
    }

    private String removeTheLine() {
        return fallback == null ? "remove the line" : "remove the line for the default, " + fallback;
    }

    private static String plain(double bound) {
        return bound == Math.rint(bound) ? String.format(Locale.ROOT, "%.0f", bound) : String.valueOf(bound);
    }
}
