package ulysses.driver.jinja;

import java.util.List;
import java.util.Map;

/**
 * What one run of a template may still cost, in chars made: templates come with models, and loops in loops or a text that is doubled
 * again and again would take the executor's time or memory without an end. Grows with what the template is given, so that long
 * conversations are not refused. A value costs what it holds when all of it is written out, so lists that hold a list twice can't
 * hide how large they are.
 */
final class Effort {
    /** A step of a loop or a call takes about as long as making so many chars: chosen, not tuned. */
    private static final int STEP = 8;

    private static final long LEAST = 16L << 20;

    /** Templates that go over all messages for each message do so at most for some hundred messages: chosen, not tuned. */
    private static final long FOR_EACH_CHAR = 1000;

    private long left = Long.MAX_VALUE;

    private Effort() {}

    /** For a template that is given {@code values}. */
    static Effort over(Map<String, Object> values) {
        Effort effort = new Effort();
        effort.count(values);
        effort.left = LEAST + FOR_EACH_CHAR * (Long.MAX_VALUE - effort.left);
        return effort;
    }

    /** One step of a loop, one call, one value. */
    void step() {
        spend(STEP);
    }

    /** {@code chars} are made or looked at. */
    void spend(long chars) {
        if (chars > left) {
            throw new JinjaException(
                    "it makes far more than it is given: a loop or a text in it grows without an end, or nearly so");
        }
        left -= chars;
    }

    /** {@code count} times {@code chars} are made. */
    void spend(long count, long chars) {
        if (count > 0 && chars > left / count) {
            spend(Long.MAX_VALUE);
        }
        spend(Math.max(count, 0) * chars);
    }

    /** A value that was made, with all that it holds. */
    <T> T made(T value) {
        count(value);
        return value;
    }

    /** All of {@code value} is looked at. */
    void count(Object value) {
        if (value instanceof String text) {
            spend(STEP + (long) text.length());
        } else if (value instanceof List<?> list) {
            step();
            list.forEach(this::count);
        } else if (value instanceof Map<?, ?> map) {
            step();
            map.forEach((key, item) -> {
                count(key);
                count(item);
            });
        } else {
            step();
        }
    }

    /** The items of {@code value} are looked at, but not what they hold. */
    void glance(Object value) {
        if (value instanceof String text) {
            spend(STEP + (long) text.length());
        } else if (value instanceof List<?> list) {
            spend(STEP, list.size() + 1L);
        } else if (value instanceof Map<?, ?> map) {
            spend(STEP, map.size() + 1L);
        } else {
            step();
        }
    }
}
