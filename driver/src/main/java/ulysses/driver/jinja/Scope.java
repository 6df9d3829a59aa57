package ulysses.driver.jinja;

import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Names and their values; what is not here is looked up in the scope around. Loops and macros open a scope, conditions do not. */
final class Scope {
    private final @Nullable Scope around;
    private final Effort effort;
    private final Map<String, Object> values = new HashMap<>();

    private Scope(@Nullable Scope around, Effort effort) {
        this.around = around;
        this.effort = effort;
    }

    /** The scope of a whole template. */
    static Scope of(Map<String, Object> values) {
        Scope scope = new Scope(null, Effort.over(values));
        scope.values.putAll(values);
        return scope;
    }

    Scope inner() {
        return new Scope(this, effort);
    }

    /** What the run may still cost. */
    Effort effort() {
        return effort;
    }

    void set(String name, Object value) {
        values.put(name, value);
    }

    Object get(String name) {
        for (Scope scope = this; scope != null; scope = scope.around) {
            Object value = scope.values.get(name);
            if (value != null) {
                return value;
            }
        }
        return new Values.Undefined("'%s' is undefined".formatted(name));
    }
}
