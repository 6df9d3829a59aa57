package ulysses.driver.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Arguments as written; all of {@code spread} follow the positional ones. */
record ArgumentList(
        List<Expression> positional,
        Map<String, Expression> named,
        @Nullable Expression spread) {
    static final ArgumentList NONE = new ArgumentList(List.of(), Map.of(), null);

    Arguments evaluate(Scope scope) {
        List<Object> values = new ArrayList<>();
        positional.forEach(argument -> values.add(argument.evaluate(scope)));
        if (spread != null) {
            values.addAll(Values.items(spread.evaluate(scope)));
        }
        Map<String, Object> byName = new LinkedHashMap<>();
        named.forEach((name, argument) -> byName.put(name, argument.evaluate(scope)));
        return new Arguments(values, byName, scope.effort());
    }
}
