package ulysses.driver.jinja;

import java.util.List;
import ulysses.driver.jinja.Token.Kind;

/** Where the parsers of a template stand among its tokens. */
final class TokenCursor {
    private final List<Token> tokens;
    private int position;

    TokenCursor(List<Token> tokens) {
        this.tokens = tokens;
    }

    Token peek() {
        return tokens.get(position);
    }

    /** The one behind {@link #peek}. */
    Token ahead() {
        return tokens.get(position + 1);
    }

    Token next() {
        return tokens.get(position++);
    }

    /** Undoes {@link #next}. */
    void back() {
        position--;
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
            back();
            throw unexpected("the end of the tag");
        }
    }

    JinjaException unexpected(String wanted) {
        Token found = peek();
        String shown = found.kind() == Kind.CLOSE || found.kind() == Kind.END ? "the end" : "'" + found.text() + "'";
        return new JinjaException("line %d: %s is expected but %s is found".formatted(found.line(), wanted, shown));
    }
}
