package ulysses.driver.jinja;

import java.util.List;
import java.util.Map;

/**
 * A macro where it is defined.
 *
 * @param name for messages
 * @param signature its parameters
 * @param body what it prints
 * @param definedIn names it sees
 */
record Macro(String name, Signature signature, Statement body, Scope definedIn) implements Arguments.Callable {

    /**
     * Parameters.
     *
     * @param names in order
     * @param defaults of those that have one
     */
    record Signature(List<String> names, Map<String, Expression> defaults) {}

    @Override
    public Object call(Arguments given) {
        if (given.positional().size() > signature.names().size()) {
            throw new JinjaException("macro %s takes %d arguments but is given %d"
                    .formatted(
                            name, signature.names().size(), given.positional().size()));
        }
        given.effort().step();
        Scope scope = definedIn.inner();
        for (int i = 0; i < signature.names().size(); i++) {
            String parameter = signature.names().get(i);
            Object value = given.get(i, parameter, Values.UNSET);
            Expression absent = signature.defaults().get(parameter);
            if (value == Values.UNSET) {
                value = absent == null
                        ? new Values.Undefined("parameter '%s' was not provided".formatted(parameter))
                        : absent.evaluate(scope);
            }
            scope.set(parameter, value);
        }
        if (given.named().get("caller") instanceof Arguments.Callable caller) {
            scope.set("caller", caller);
        }
        Output out = new Output();
        body.render(scope, out);
        return out.toString();
    }
}
