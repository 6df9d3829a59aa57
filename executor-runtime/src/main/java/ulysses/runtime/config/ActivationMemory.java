package ulysses.runtime.config;

import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What the layers keep of a micro-batch's forward for its backward ({@code activation_memory}). Whatever is kept, numbers are the
 * same, bit for bit.
 *
 * @param bytes one rank may keep, beside the layers' inputs, for {@link Kind#BYTES}; else 0
 */
public record ActivationMemory(Kind kind, long bytes) {

    /** {@code activation_memory: none}: the layers' inputs alone. */
    public static final ActivationMemory NONE = new ActivationMemory(Kind.NONE, 0);

    /** {@code activation_memory: attention}: what attention gave too. */
    public static final ActivationMemory ATTENTION = new ActivationMemory(Kind.ATTENTION, 0);

    /** {@code activation_memory: full}: all that backward needs. */
    public static final ActivationMemory FULL = new ActivationMemory(Kind.FULL, 0);

    /** {@code activation_memory: auto}: as much as the memory that is there allows. */
    public static final ActivationMemory AUTO = new ActivationMemory(Kind.AUTO, 0);

    private static final Pattern BYTES = Pattern.compile("(\\d{1,18})([kmgt]?)b?");

    private static final String UNITS = "kmgt";

    /** How the key was given. */
    public enum Kind {
        NONE,
        ATTENTION,
        FULL,
        AUTO,
        BYTES
    }

    /** At most {@code bytes}. */
    public static ActivationMemory ofBytes(long bytes) {
        return new ActivationMemory(Kind.BYTES, bytes);
    }

    /** From the words of the key, or bytes with a binary unit as Spark writes them (8g); empty if it is neither. */
    static Optional<ActivationMemory> parse(String text) {
        String word = text.strip().toLowerCase(Locale.ROOT);
        for (ActivationMemory named : new ActivationMemory[] {NONE, ATTENTION, FULL, AUTO}) {
            if (named.kind().name().toLowerCase(Locale.ROOT).equals(word)) {
                return Optional.of(named);
            }
        }
        Matcher bytes = BYTES.matcher(word);
        if (!bytes.matches()) {
            return Optional.empty();
        }
        int shift = 10 * (bytes.group(2).isEmpty() ? 0 : UNITS.indexOf(bytes.group(2)) + 1);
        long number = Long.parseLong(bytes.group(1));
        return number > Long.MAX_VALUE >> shift ? Optional.empty() : Optional.of(ofBytes(number << shift));
    }

    /** As the key is written. */
    @Override
    public String toString() {
        return kind == Kind.BYTES ? String.valueOf(bytes) : kind.name().toLowerCase(Locale.ROOT);
    }
}
