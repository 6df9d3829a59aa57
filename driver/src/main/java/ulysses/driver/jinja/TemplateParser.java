package ulysses.driver.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import ulysses.driver.jinja.Statement.Flow;
import ulysses.driver.jinja.Token.Kind;

/** Tokens to statements: what Jinja's own tags do, loop controls, and transformers' {@code generation}. */
final class TemplateParser {
    private final TokenCursor tokens;
    private final ExpressionParser expressions;

    TemplateParser(List<Token> tokens) {
        this.tokens = new TokenCursor(tokens);
        this.expressions = new ExpressionParser(this.tokens);
    }

    Statement template() {
        Statement all = body(Set.of());
        if (tokens.peek().kind() != Kind.END) {
            throw tokens.unexpected("the end of the template");
        }
        return all;
    }

    /** Statements up to one of {@code ends}, whose name is the next token then. */
    private Statement body(Set<String> ends) {
        List<Statement> statements = new ArrayList<>();
        while (true) {
            Token token = tokens.peek();
            if (token.kind() == Kind.END) {
                if (!ends.isEmpty()) {
                    throw tokens.unexpected(
                            String.join(" or ", ends.stream().sorted().toList()));
                }
                return Statement.sequence(statements);
            }
            tokens.next();
            if (token.kind() == Kind.DATA) {
                statements.add((scope, out) -> print(scope, out, token.text()));
            } else if (token.kind() == Kind.PRINT) {
                Expression value = expressions.tuple();
                tokens.expectClose();
                statements.add((scope, out) -> print(scope, out, Values.text(value.evaluate(scope))));
            } else if (ends.contains(tokens.peek().text())) {
                return Statement.sequence(statements);
            } else {
                statements.add(block());
            }
        }
    }

    private static Flow print(Scope scope, Output out, String text) {
        scope.effort().glance(text);
        out.append(text);
        return Flow.NEXT;
    }

    private Statement block() {
        Token name = tokens.peek();
        String tag = tokens.expectName();
        return switch (tag) {
            case "if" -> condition();
            case "for" -> loop();
            case "set" -> assignment();
            case "macro" -> macro();
            case "call" -> call();
            case "filter" -> filter();
            case "generation" -> generation();
            case "break" -> leave(Flow.BREAK);
            case "continue" -> leave(Flow.CONTINUE);
            case "do" -> {
                Expression value = expressions.tuple();
                tokens.expectClose();
                yield (scope, out) -> print(scope, out, value.evaluate(scope) == Values.UNSET ? "?" : "");
            }
            default -> throw new JinjaException("line %d: tag %s is not known".formatted(name.line(), tag));
        };
    }

    private Statement leave(Flow flow) {
        tokens.expectClose();
        return (scope, out) -> flow;
    }

    private Statement condition() {
        Expression test = expressions.tuple();
        tokens.expectClose();
        Statement then = body(Set.of("elif", "else", "endif"));
        Statement otherwise;
        switch (tokens.next().text()) {
            case "elif" -> otherwise = condition();
            case "else" -> {
                tokens.expectClose();
                otherwise = body(Set.of("endif"));
                end();
            }
            default -> {
                tokens.expectClose();
                otherwise = (scope, out) -> Flow.NEXT;
            }
        }
        return (scope, out) ->
                Values.isTrue(test.evaluate(scope)) ? then.render(scope, out) : otherwise.render(scope, out);
    }

    /** The name of an end tag and its close. */
    private void end() {
        tokens.next();
        tokens.expectClose();
    }

    private List<String> targets() {
        boolean bracketed = tokens.skipOperator("(");
        List<String> names = new ArrayList<>(List.of(tokens.expectName()));
        while (tokens.skipOperator(",")) {
            names.add(tokens.expectName());
        }
        if (bracketed) {
            tokens.expectOperator(")");
        }
        return names;
    }

    private static void assign(Scope scope, List<String> names, Object value) {
        if (names.size() == 1) {
            scope.set(names.get(0), value);
            return;
        }
        List<Object> values = Values.items(value);
        if (values.size() != names.size()) {
            throw new JinjaException("%d values for %d names".formatted(values.size(), names.size()));
        }
        for (int i = 0; i < names.size(); i++) {
            scope.set(names.get(i), values.get(i));
        }
    }

    private Statement loop() {
        List<String> names = targets();
        if (!tokens.skipName("in")) {
            throw tokens.unexpected("'in'");
        }
        Expression items = tupleWithoutCondition();
        Expression filter = tokens.skipName("if") ? expressions.expression() : scope -> true;
        boolean recursive = tokens.skipName("recursive");
        tokens.expectClose();
        Statement body = body(Set.of("else", "endfor"));
        Statement otherwise = (scope, out) -> Flow.NEXT;
        if (tokens.peek().isName("else")) {
            end();
            otherwise = body(Set.of("endfor"));
        }
        end();
        return new Loop(names, items, filter, body, otherwise, recursive);
    }

    private Expression tupleWithoutCondition() {
        Expression first = expressions.or();
        if (!tokens.peek().isOperator(",")) {
            return first;
        }
        List<Expression> all = new ArrayList<>(List.of(first));
        while (tokens.skipOperator(",")) {
            all.add(expressions.or());
        }
        return scope -> all.stream().map(item -> item.evaluate(scope)).toList();
    }

    private Statement assignment() {
        int attribute = 0;
        List<String> names = targets();
        String entry = "";
        if (names.size() == 1 && tokens.skipOperator(".")) {
            entry = tokens.expectName();
            attribute = 1;
        }
        String key = entry;
        boolean isEntry = attribute == 1;
        Expression value;
        if (tokens.skipOperator("=")) {
            value = expressions.tuple();
            tokens.expectClose();
        } else {
            value = captured();
        }
        return (scope, out) -> {
            Object given = value.evaluate(scope);
            if (isEntry) {
                if (!(scope.get(names.get(0)) instanceof Values.Namespace space)) {
                    throw new JinjaException("cannot assign attribute on non-namespace object");
                }
                space.put(key, given);
            } else {
                assign(scope, names, given);
            }
            return Flow.NEXT;
        };
    }

    /** {@code {% set x | filter %}text{% endset %}}. */
    private Expression captured() {
        Output[] captured = {new Output()};
        Expression value = scope -> captured[0].toString();
        while (tokens.skipOperator("|")) {
            value = expressions.operands().filter(value);
        }
        tokens.expectClose();
        Statement body = body(Set.of("endset"));
        end();
        Expression filtered = value;
        return scope -> {
            synchronized (captured) {
                Output out = new Output();
                body.render(scope.inner(), out);
                captured[0] = out;
                return filtered.evaluate(scope);
            }
        };
    }

    private Statement macro() {
        String name = tokens.expectName();
        Macro.Signature signature = signature();
        tokens.expectClose();
        Statement body = body(Set.of("endmacro"));
        end();
        return (scope, out) -> {
            scope.set(name, new Macro(name, signature, body, scope));
            return Flow.NEXT;
        };
    }

    private Macro.Signature signature() {
        List<String> names = new ArrayList<>();
        Map<String, Expression> defaults = new LinkedHashMap<>();
        tokens.expectOperator("(");
        while (!tokens.skipOperator(")")) {
            String name = tokens.expectName();
            names.add(name);
            if (tokens.skipOperator("=")) {
                defaults.put(name, expressions.expression());
            }
            if (!tokens.peek().isOperator(")")) {
                tokens.expectOperator(",");
            }
        }
        return new Macro.Signature(names, defaults);
    }

    /** {@code {% call macro() %}text{% endcall %}}: the macro prints the text with {@code caller()}. */
    private Statement call() {
        Macro.Signature signature =
                tokens.peek().isOperator("(") ? signature() : new Macro.Signature(List.of(), Map.of());
        Statement[] body = new Statement[1];
        Expression called = expressions.operands().macroCall(scope -> new Macro("caller", signature, body[0], scope));
        tokens.expectClose();
        body[0] = body(Set.of("endcall"));
        end();
        return (scope, out) -> print(scope, out, Values.text(called.evaluate(scope)));
    }

    private Statement filter() {
        Output[] captured = {new Output()};
        Expression value = expressions.operands().filter(scope -> captured[0].toString());
        while (tokens.skipOperator("|")) {
            value = expressions.operands().filter(value);
        }
        tokens.expectClose();
        Statement body = body(Set.of("endfilter"));
        end();
        Expression filtered = value;
        return (scope, out) -> {
            synchronized (captured) {
                Output own = new Output();
                body.render(scope.inner(), own);
                captured[0] = own;
                return print(scope, out, Values.text(filtered.evaluate(scope)));
            }
        };
    }

    private Statement generation() {
        tokens.expectClose();
        Statement body = body(Set.of("endgeneration"));
        end();
        return (scope, out) -> {
            int start = out.length();
            Flow flow = body.render(scope, out);
            out.generated(start);
            return flow;
        };
    }

    /** A loop with what Jinja calls {@code loop}. */
    private record Loop(
            List<String> names,
            Expression items,
            Expression filter,
            Statement body,
            Statement otherwise,
            boolean recursive)
            implements Statement {

        @Override
        public Flow render(Scope scope, Output out) {
            return over(Values.items(items.evaluate(scope)), scope, out, 1);
        }

        private Flow over(List<Object> all, Scope scope, Output out, int depth) {
            List<Object> kept = new ArrayList<>();
            for (Object item : all) {
                scope.effort().step();
                Scope inner = scope.inner();
                assign(inner, names, item);
                if (Values.isTrue(filter.evaluate(inner))) {
                    kept.add(item);
                }
            }
            if (kept.isEmpty()) {
                return otherwise.render(scope, out);
            }
            for (int i = 0; i < kept.size(); i++) {
                scope.effort().step();
                Scope inner = scope.inner();
                assign(inner, names, kept.get(i));
                inner.set("loop", state(kept, i, depth, scope));
                if (body.render(inner, out) == Flow.BREAK) {
                    break;
                }
            }
            return Flow.NEXT;
        }

        private Object state(List<Object> kept, int i, int depth, Scope scope) {
            if (recursive) {
                return (Arguments.Callable) given -> {
                    Output own = new Output();
                    over(Values.items(given.required(0, "items")), scope, own, depth + 1);
                    return own.toString();
                };
            }
            Map<Object, Object> loop = new LinkedHashMap<>();
            long size = kept.size();
            loop.put("index", i + 1L);
            loop.put("index0", (long) i);
            loop.put("revindex", size - i);
            loop.put("revindex0", size - i - 1);
            loop.put("first", i == 0);
            loop.put("last", i == size - 1);
            loop.put("length", size);
            loop.put("depth", (long) depth);
            loop.put("depth0", depth - 1L);
            loop.put("previtem", i == 0 ? new Values.Undefined("there is no previous item") : kept.get(i - 1));
            loop.put("nextitem", i == size - 1 ? new Values.Undefined("there is no next item") : kept.get(i + 1));
            loop.put("cycle", (Arguments.Callable)
                    given -> given.positional().get(i % given.positional().size()));
            return loop;
        }
    }
}
