package ulysses.driver.jinja;

/**
 * A piece of a template's source.
 *
 * @param kind what it is
 * @param text a name, an operator, the value of a text, or the text between tags
 * @param line where it stands, from 1
 */
record Token(Kind kind, String text, int line) {

    enum Kind {
        /** Text between tags. */
        DATA,
        /** Opens {@code {{ }}}. */
        PRINT,
        /** Opens {@code {% %}}. */
        BLOCK,
        /** Closes either. */
        CLOSE,
        NAME,
        TEXT,
        INTEGER,
        REAL,
        OPERATOR,
        END
    }

    boolean is(Kind other, String written) {
        return kind == other && text.equals(written);
    }

    boolean isOperator(String written) {
        return is(Kind.OPERATOR, written);
    }

    boolean isName(String written) {
        return is(Kind.NAME, written);
    }
}
