package ulysses.driver.jinja;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import ulysses.driver.jinja.Token.Kind;

/** Tokens to expressions, with Jinja's order of operators. */
final class ExpressionParser {
    private static final Set<String> COMPARISONS = Set.of("==", "!=", "<", "<=", ">", ">=");

    private final List<Token> tokens;
    private int position;

    ExpressionParser(List<Token> tokens) {
        this.tokens = tokens;
    }

    Token peek() {
        return tokens.get(position);
    }

    Token next() {
        return tokens.get(position++);
    }

    boolean skipOperator(String operator) {
        return skip(peek().isOperator(operator));
    }

    boolean skipName(String name) {
        return skip(peek().isName(name));
    }

    private boolean skip(boolean matches) {
        position += matches ? 1 : 0;
        return matches;
    }

    void expectOperator(String operator) {
        if (!skipOperator(operator)) {
            throw unexpected("'%s'".formatted(operator));
        }
    }

    String expectName() {
        if (peek().kind() != Kind.NAME) {
            throw unexpected("a name");
        }
        return next().text();
    }

    void expectClose() {
        if (next().kind() != Kind.CLOSE) {
            position--;
            throw unexpected("the end of the tag");
        }
    }

    JinjaException unexpected(String wanted) {
        Token found = peek();
        String shown = found.kind() == Kind.CLOSE || found.kind() == Kind.END ? "the end" : "'" + found.text() + "'";
        return new JinjaException("line %d: %s is expected but %s is found".formatted(found.line(), wanted, shown));
    }

    /** Expressions with commas between are a list. */
    Expression tuple() {
        Expression first = expression();
        if (!peek().isOperator(",")) {
            return first;
        }
        List<Expression> items = new ArrayList<>(List.of(first));
        while (skipOperator(",") && peek().kind() != Kind.CLOSE && !peek().isOperator(")")) {
            items.add(expression());
        }
        return list(items);
    }

    private static Expression list(List<Expression> items) {
        return scope -> {
            List<Object> values = new ArrayList<>();
            items.forEach(item -> values.add(item.evaluate(scope)));
            return scope.effort().made(values);
        };
    }

    Expression expression() {
        Expression value = or();
        while (skipName("if")) {
            Expression condition = or();
            Expression then = value;
            Expression otherwise =
                    skipName("else") ? expression() : scope -> new Values.Undefined("the condition does not hold");
            value = scope ->
                    Values.isTrue(condition.evaluate(scope)) ? then.evaluate(scope) : otherwise.evaluate(scope);
        }
        return value;
    }

    Expression or() {
        Expression left = and();
        while (skipName("or")) {
            Expression one = left;
            Expression other = and();
            left = scope -> {
                Object value = one.evaluate(scope);
                return Values.isTrue(value) ? value : other.evaluate(scope);
            };
        }
        return left;
    }

    private Expression and() {
        Expression left = not();
        while (skipName("and")) {
            Expression one = left;
            Expression other = not();
            left = scope -> {
                Object value = one.evaluate(scope);
                return Values.isTrue(value) ? other.evaluate(scope) : value;
            };
        }
        return left;
    }

    private Expression not() {
        if (!skipName("not")) {
            return comparison();
        }
        Expression value = not();
        return scope -> !Values.isTrue(value.evaluate(scope));
    }

    /** A chain: each neighbour is compared. */
    private Expression comparison() {
        List<Expression> operands = new ArrayList<>(List.of(sum()));
        List<String> operators = new ArrayList<>();
        while (true) {
            Token token = peek();
            if ((token.kind() == Kind.OPERATOR && COMPARISONS.contains(token.text())) || token.isName("in")) {
                operators.add(next().text());
            } else if (token.isName("not") && tokens.get(position + 1).isName("in")) {
                position += 2;
                operators.add("not in");
            } else {
                break;
            }
            operands.add(sum());
        }
        if (operators.isEmpty()) {
            return operands.get(0);
        }
        return scope -> {
            Object left = operands.get(0).evaluate(scope);
            for (int i = 0; i < operators.size(); i++) {
                Object right = operands.get(i + 1).evaluate(scope);
                scope.effort().count(left);
                scope.effort().count(right);
                if (!holds(operators.get(i), left, right)) {
                    return false;
                }
                left = right;
            }
            return true;
        };
    }

    private static boolean holds(String operator, Object left, Object right) {
        return switch (operator) {
            case "==" -> Values.equal(left, right);
            case "!=" -> !Values.equal(left, right);
            case "in" -> Values.contains(right, left);
            case "not in" -> !Values.contains(right, left);
            case "<" -> Values.compare(left, right) < 0;
            case "<=" -> Values.compare(left, right) <= 0;
            case ">" -> Values.compare(left, right) > 0;
            default -> Values.compare(left, right) >= 0;
        };
    }

    private Expression sum() {
        Expression left = concatenation();
        while (peek().isOperator("+") || peek().isOperator("-")) {
            String operator = next().text();
            Expression one = left;
            Expression other = concatenation();
            left = operator.equals("+")
                    ? scope -> scope.effort().made(Values.add(one.evaluate(scope), other.evaluate(scope)))
                    : scope -> Values.calculate(operator, one.evaluate(scope), other.evaluate(scope));
        }
        return left;
    }

    private Expression concatenation() {
        Expression left = product();
        while (skipOperator("~")) {
            Expression one = left;
            Expression other = product();
            left = scope -> scope.effort().made(Values.text(one.evaluate(scope)) + Values.text(other.evaluate(scope)));
        }
        return left;
    }

    private Expression product() {
        Expression left = power();
        while (Set.of("*", "/", "//", "%").contains(peek().text()) && peek().kind() == Kind.OPERATOR) {
            String operator = next().text();
            Expression one = left;
            Expression other = power();
            left = operator.equals("*")
                    ? scope -> scope.effort().made(Values.multiply(one.evaluate(scope), other.evaluate(scope)))
                    : scope -> Values.calculate(operator, one.evaluate(scope), other.evaluate(scope));
        }
        return left;
    }

    private Expression power() {
        Expression left = unary(true);
        while (skipOperator("**")) {
            Expression one = left;
            Expression other = unary(true);
            left = scope -> Values.calculate("**", one.evaluate(scope), other.evaluate(scope));
        }
        return left;
    }

    private Expression unary(boolean filtered) {
        Expression value;
        if (skipOperator("-")) {
            Expression positive = unary(false);
            value = scope -> Values.negative(positive.evaluate(scope));
        } else {
            value = skipOperator("+") ? unary(false) : primary();
        }
        value = postfix(value);
        return filtered ? filtered(value) : value;
    }

    private Expression filtered(Expression start) {
        Expression value = start;
        while (true) {
            Expression inner = value;
            if (skipOperator("|")) {
                value = filter(inner);
            } else if (skipName("is")) {
                value = test(inner);
            } else if (peek().isOperator("(")) {
                value = call(inner);
            } else {
                return value;
            }
        }
    }

    /** The filter behind {@code |} on a value. */
    Expression filter(Expression value) {
        Filters.Filter filter = Filters.named(expectName());
        ArgumentList given = peek().isOperator("(") ? arguments() : ArgumentList.NONE;
        return scope -> {
            Object filtered = value.evaluate(scope);
            scope.effort().glance(filtered);
            return scope.effort().made(filter.apply(filtered, given.evaluate(scope)));
        };
    }

    private Expression test(Expression value) {
        boolean negated = skipName("not");
        Tests.Test test = Tests.named(expectName());
        ArgumentList given = ArgumentList.NONE;
        Token token = peek();
        boolean bare = token.kind() == Kind.TEXT
                || token.kind() == Kind.INTEGER
                || token.kind() == Kind.REAL
                || token.isOperator("[")
                || token.isOperator("{")
                || (token.kind() == Kind.NAME
                        && !Set.of("else", "or", "and", "is", "if", "in", "not", "recursive")
                                .contains(token.text()));
        if (token.isOperator("(")) {
            given = arguments();
        } else if (bare) {
            given = new ArgumentList(List.of(postfix(primary())), Map.of(), null);
        }
        ArgumentList fixed = given;
        return scope -> {
            Object tested = value.evaluate(scope);
            scope.effort().glance(tested);
            return test.holds(tested, fixed.evaluate(scope)) != negated;
        };
    }

    private Expression postfix(Expression start) {
        Expression value = start;
        while (true) {
            Expression inner = value;
            if (skipOperator(".")) {
                value = attribute(inner);
            } else if (skipOperator("[")) {
                value = subscript(inner);
            } else if (peek().isOperator("(")) {
                value = call(inner);
            } else {
                return value;
            }
        }
    }

    private Expression attribute(Expression value) {
        if (peek().kind() == Kind.INTEGER) {
            Object place = integer(next().text());
            return scope -> item(scope, value.evaluate(scope), place);
        }
        String name = expectName();
        return scope -> Values.attribute(value.evaluate(scope), name);
    }

    /** An item of a text is found by going through the text. */
    private static Object item(Scope scope, Object value, Object key) {
        if (value instanceof String) {
            scope.effort().glance(value);
        }
        return Values.item(value, key);
    }

    private Expression subscript(Expression value) {
        Expression first = peek().isOperator(":") ? scope -> Values.NONE : tuple();
        if (skipOperator("]")) {
            return scope -> item(scope, value.evaluate(scope), first.evaluate(scope));
        }
        expectOperator(":");
        Expression stop = bound();
        Expression step = skipOperator(":") ? bound() : scope -> Values.NONE;
        expectOperator("]");
        return scope -> {
            Object cut = value.evaluate(scope);
            scope.effort().glance(cut);
            return scope.effort()
                    .made(Values.slice(cut, first.evaluate(scope), stop.evaluate(scope), step.evaluate(scope)));
        };
    }

    private Expression bound() {
        return peek().isOperator(":") || peek().isOperator("]") ? scope -> Values.NONE : expression();
    }

    private Expression call(Expression callee) {
        ArgumentList given = arguments();
        return scope -> {
            Object function = callee.evaluate(scope);
            if (function instanceof Arguments.Callable callable) {
                return scope.effort().made(callable.call(given.evaluate(scope)));
            }
            throw Values.notA("something to call", function);
        };
    }

    /** A macro by its name, called with a further argument {@code caller}. */
    Expression macroCall(Function<Scope, Arguments.Callable> caller) {
        String name = expectName();
        ArgumentList given = arguments();
        return scope -> {
            if (!(scope.get(name) instanceof Arguments.Callable macro)) {
                throw Values.notA("a macro", scope.get(name));
            }
            Arguments arguments = given.evaluate(scope);
            Map<String, Object> named = new LinkedHashMap<>(arguments.named());
            named.put("caller", caller.apply(scope));
            return macro.call(new Arguments(arguments.positional(), named, arguments.effort()));
        };
    }

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

    private ArgumentList arguments() {
        expectOperator("(");
        List<Expression> positional = new ArrayList<>();
        Map<String, Expression> named = new LinkedHashMap<>();
        Expression spread = null;
        while (!skipOperator(")")) {
            if (skipOperator("*")) {
                spread = expression();
            } else if (peek().kind() == Kind.NAME && tokens.get(position + 1).isOperator("=")) {
                String name = next().text();
                position++;
                named.put(name, expression());
            } else {
                positional.add(expression());
            }
            if (!peek().isOperator(")")) {
                expectOperator(",");
            }
        }
        return new ArgumentList(positional, named, spread);
    }

    private Expression primary() {
        Token token = next();
        switch (token.kind()) {
            case TEXT -> {
                StringBuilder text = new StringBuilder(token.text());
                while (peek().kind() == Kind.TEXT) {
                    text.append(next().text());
                }
                return constant(text.toString());
            }
            case INTEGER -> {
                return constant(integer(token.text()));
            }
            case REAL -> {
                return constant(Double.parseDouble(token.text()));
            }
            case NAME -> {
                return named(token.text());
            }
            default -> {
                return bracketed(token);
            }
        }
    }

    private static Object integer(String digits) {
        BigInteger number = new BigInteger(digits);
        return number.bitLength() < Long.SIZE ? (Object) number.longValue() : number;
    }

    private static Expression constant(Object value) {
        return scope -> value;
    }

    private static Expression named(String name) {
        return switch (name) {
            case "true", "True" -> constant(true);
            case "false", "False" -> constant(false);
            case "none", "None" -> constant(Values.NONE);
            default -> scope -> scope.get(name);
        };
    }

    private Expression bracketed(Token token) {
        if (token.isOperator("(")) {
            if (skipOperator(")")) {
                return list(List.of());
            }
            Expression inner = tuple();
            expectOperator(")");
            return inner;
        }
        if (token.isOperator("[")) {
            List<Expression> items = new ArrayList<>();
            while (!skipOperator("]")) {
                items.add(expression());
                if (!peek().isOperator("]")) {
                    expectOperator(",");
                }
            }
            return list(items);
        }
        if (token.isOperator("{")) {
            return map();
        }
        position--;
        throw unexpected("a value");
    }

    private Expression map() {
        Map<Expression, Expression> entries = new LinkedHashMap<>();
        while (!skipOperator("}")) {
            Expression key = expression();
            expectOperator(":");
            entries.put(key, expression());
            if (!peek().isOperator("}")) {
                expectOperator(",");
            }
        }
        return scope -> {
            Map<Object, Object> map = new LinkedHashMap<>();
            entries.forEach((key, value) -> map.put(Values.key(key.evaluate(scope)), value.evaluate(scope)));
            return scope.effort().made(map);
        };
    }
}
