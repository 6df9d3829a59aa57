package ulysses.driver.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import ulysses.driver.jinja.Token.Kind;

/** Tokens to expressions: operators in Jinja's order, from the one that binds least to those next to their operands. */
final class ExpressionParser {
    private static final Set<String> COMPARISONS = Set.of("==", "!=", "<", "<=", ">", ">=");

    private final TokenCursor tokens;
    private final OperandParser operands;

    ExpressionParser(TokenCursor tokens) {
        this.tokens = tokens;
        this.operands = new OperandParser(tokens, this);
    }

    OperandParser operands() {
        return operands;
    }

    /** Expressions with commas between are a list. */
    Expression tuple() {
        Expression first = expression();
        if (!tokens.peek().isOperator(",")) {
            return first;
        }
        List<Expression> items = new ArrayList<>(List.of(first));
        while (tokens.skipOperator(",")
                && tokens.peek().kind() != Kind.CLOSE
                && !tokens.peek().isOperator(")")) {
            items.add(expression());
        }
        return list(items);
    }

    static Expression list(List<Expression> items) {
        return scope -> {
            List<Object> values = new ArrayList<>();
            items.forEach(item -> values.add(item.evaluate(scope)));
            return scope.effort().made(values);
        };
    }

    Expression expression() {
        Expression value = or();
        while (tokens.skipName("if")) {
            Expression condition = or();
            Expression then = value;
            Expression otherwise = tokens.skipName("else")
                    ? expression()
                    : scope -> new Values.Undefined("the condition does not hold");
            value = scope ->
                    Values.isTrue(condition.evaluate(scope)) ? then.evaluate(scope) : otherwise.evaluate(scope);
        }
        return value;
    }

    Expression or() {
        Expression left = and();
        while (tokens.skipName("or")) {
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
        while (tokens.skipName("and")) {
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
        if (!tokens.skipName("not")) {
            return comparison();
        }
        Expression value = not();
        return scope -> !Values.isTrue(value.evaluate(scope));
    }

    /** A chain: each neighbour is compared. */
    private Expression comparison() {
        List<Expression> compared = new ArrayList<>(List.of(sum()));
        List<String> operators = new ArrayList<>();
        while (true) {
            Token token = tokens.peek();
            if ((token.kind() == Kind.OPERATOR && COMPARISONS.contains(token.text())) || token.isName("in")) {
                operators.add(tokens.next().text());
            } else if (token.isName("not") && tokens.ahead().isName("in")) {
                tokens.next();
                tokens.next();
                operators.add("not in");
            } else {
                break;
            }
            compared.add(sum());
        }
        if (operators.isEmpty()) {
            return compared.get(0);
        }
        return scope -> {
            Object left = compared.get(0).evaluate(scope);
            for (int i = 0; i < operators.size(); i++) {
                Object right = compared.get(i + 1).evaluate(scope);
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
        while (tokens.peek().isOperator("+") || tokens.peek().isOperator("-")) {
            String operator = tokens.next().text();
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
        while (tokens.skipOperator("~")) {
            Expression one = left;
            Expression other = product();
            left = scope -> scope.effort().made(Values.text(one.evaluate(scope)) + Values.text(other.evaluate(scope)));
        }
        return left;
    }

    private Expression product() {
        Expression left = power();
        while (Set.of("*", "/", "//", "%").contains(tokens.peek().text())
                && tokens.peek().kind() == Kind.OPERATOR) {
            String operator = tokens.next().text();
            Expression one = left;
            Expression other = power();
            left = operator.equals("*")
                    ? scope -> scope.effort().made(Values.multiply(one.evaluate(scope), other.evaluate(scope)))
                    : scope -> Values.calculate(operator, one.evaluate(scope), other.evaluate(scope));
        }
        return left;
    }

    private Expression power() {
        Expression left = operands.operand();
        while (tokens.skipOperator("**")) {
            Expression one = left;
            Expression other = operands.operand();
            left = scope -> Values.calculate("**", one.evaluate(scope), other.evaluate(scope));
        }
        return left;
    }
}
