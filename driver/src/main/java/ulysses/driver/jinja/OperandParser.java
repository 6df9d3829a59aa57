package ulysses.driver.jinja;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import ulysses.driver.jinja.Token.Kind;

/** Tokens to the operands of expressions: literals, names and brackets, with their signs, attributes, items, calls, filters and tests. */
final class OperandParser {
    private final TokenCursor tokens;
    private final ExpressionParser expressions;

    OperandParser(TokenCursor tokens, ExpressionParser expressions) {
        this.tokens = tokens;
        this.expressions = expressions;
    }

    /** One operand with all that belongs to it. */
    Expression operand() {
        return unary(true);
    }

    private Expression unary(boolean filtered) {
        Expression value;
        if (tokens.skipOperator("-")) {
            Expression positive = unary(false);
            value = scope -> Values.negative(positive.evaluate(scope));
        } else {
            value = tokens.skipOperator("+") ? unary(false) : primary();
        }
        value = postfix(value);
        return filtered ? filtered(value) : value;
    }

    private Expression filtered(Expression start) {
        Expression value = start;
        while (true) {
            Expression inner = value;
            if (tokens.skipOperator("|")) {
                value = filter(inner);
            } else if (tokens.skipName("is")) {
                value = test(inner);
            } else if (tokens.peek().isOperator("(")) {
                value = call(inner);
            } else {
                return value;
            }
        }
    }

    /** The filter behind {@code |} on a value. */
    Expression filter(Expression value) {
        Filters.Filter filter = Filters.named(tokens.expectName());
        ArgumentList given = tokens.peek().isOperator("(") ? arguments() : ArgumentList.NONE;
        return scope -> {
            Object filtered = value.evaluate(scope);
            scope.effort().glance(filtered);
            return scope.effort().made(filter.apply(filtered, given.evaluate(scope)));
        };
    }

    private Expression test(Expression value) {
        boolean negated = tokens.skipName("not");
        Tests.Test test = Tests.named(tokens.expectName());
        ArgumentList given = ArgumentList.NONE;
        Token token = tokens.peek();
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
            if (tokens.skipOperator(".")) {
                value = attribute(inner);
            } else if (tokens.skipOperator("[")) {
                value = subscript(inner);
            } else if (tokens.peek().isOperator("(")) {
                value = call(inner);
            } else {
                return value;
            }
        }
    }

    private Expression attribute(Expression value) {
        if (tokens.peek().kind() == Kind.INTEGER) {
            Object place = integer(tokens.next().text());
            return scope -> item(scope, value.evaluate(scope), place);
        }
        String name = tokens.expectName();
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
        Expression first = tokens.peek().isOperator(":") ? scope -> Values.NONE : expressions.tuple();
        if (tokens.skipOperator("]")) {
            return scope -> item(scope, value.evaluate(scope), first.evaluate(scope));
        }
        tokens.expectOperator(":");
        Expression stop = bound();
        Expression step = tokens.skipOperator(":") ? bound() : scope -> Values.NONE;
        tokens.expectOperator("]");
        return scope -> {
            Object cut = value.evaluate(scope);
            scope.effort().glance(cut);
            return scope.effort()
                    .made(Values.slice(cut, first.evaluate(scope), stop.evaluate(scope), step.evaluate(scope)));
        };
    }

    private Expression bound() {
        return tokens.peek().isOperator(":") || tokens.peek().isOperator("]")
                ? scope -> Values.NONE
                : expressions.expression();
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
        String name = tokens.expectName();
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

    private ArgumentList arguments() {
        tokens.expectOperator("(");
        List<Expression> positional = new ArrayList<>();
        Map<String, Expression> named = new LinkedHashMap<>();
        Expression spread = null;
        while (!tokens.skipOperator(")")) {
            if (tokens.skipOperator("*")) {
                spread = expressions.expression();
            } else if (tokens.peek().kind() == Kind.NAME && tokens.ahead().isOperator("=")) {
                String name = tokens.next().text();
                tokens.next();
                named.put(name, expressions.expression());
            } else {
                positional.add(expressions.expression());
            }
            if (!tokens.peek().isOperator(")")) {
                tokens.expectOperator(",");
            }
        }
        return new ArgumentList(positional, named, spread);
    }

    private Expression primary() {
        Token token = tokens.next();
        switch (token.kind()) {
            case TEXT -> {
                StringBuilder text = new StringBuilder(token.text());
                while (tokens.peek().kind() == Kind.TEXT) {
                    text.append(tokens.next().text());
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
            if (tokens.skipOperator(")")) {
                return ExpressionParser.list(List.of());
            }
            Expression inner = expressions.tuple();
            tokens.expectOperator(")");
            return inner;
        }
        if (token.isOperator("[")) {
            List<Expression> items = new ArrayList<>();
            while (!tokens.skipOperator("]")) {
                items.add(expressions.expression());
                if (!tokens.peek().isOperator("]")) {
                    tokens.expectOperator(",");
                }
            }
            return ExpressionParser.list(items);
        }
        if (token.isOperator("{")) {
            return map();
        }
        tokens.back();
        throw tokens.unexpected("a value");
    }

    private Expression map() {
        Map<Expression, Expression> entries = new LinkedHashMap<>();
        while (!tokens.skipOperator("}")) {
            Expression key = expressions.expression();
            tokens.expectOperator(":");
            entries.put(key, expressions.expression());
            if (!tokens.peek().isOperator("}")) {
                tokens.expectOperator(",");
            }
        }
        return scope -> {
            Map<Object, Object> map = new LinkedHashMap<>();
            entries.forEach((key, value) -> map.put(Values.key(key.evaluate(scope)), value.evaluate(scope)));
            return scope.effort().made(map);
        };
    }
}
