package ulysses.driver.jinja;

/** What stands in a tag, ready to run. Values are those that {@link Values} describes. */
@FunctionalInterface
interface Expression {
    Object evaluate(Scope scope);
}
