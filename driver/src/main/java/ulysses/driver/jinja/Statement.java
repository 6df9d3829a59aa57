package ulysses.driver.jinja;

import java.util.List;

/** A piece of a template, ready to run. */
@FunctionalInterface
interface Statement {

    /** Where to go on. */
    enum Flow {
        NEXT,
        BREAK,
        CONTINUE
    }

    Flow render(Scope scope, Output out);

    /** One after the other, until one leaves the loop. */
    static Statement sequence(List<Statement> statements) {
        List<Statement> all = List.copyOf(statements);
        return (scope, out) -> {
            for (Statement statement : all) {
                Flow flow = statement.render(scope, out);
                if (flow != Flow.NEXT) {
                    return flow;
                }
            }
            return Flow.NEXT;
        };
    }
}
