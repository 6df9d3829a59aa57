package ulysses.driver.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import ulysses.driver.jinja.Token.Kind;

/**
 * Source to tokens. White space as transformers asks for it ({@code trim_blocks}, {@code lstrip_blocks}): the line end behind a block
 * tag and blanks before one at the beginning of a line are left out; {@code -} and {@code +} in a tag change that.
 */
final class Lexer {
    private static final Pattern RAW = Pattern.compile("\\{%([-+]?)\\s*raw\\s*([-+]?)%\\}");
    private static final Pattern END_RAW = Pattern.compile("\\{%([-+]?)\\s*endraw\\s*([-+]?)%\\}");
    private static final Pattern HEX = Pattern.compile("[0-9a-fA-F]+");
    private static final int MOST_DIGITS = 4300; // as many as Python reads
    private static final Pattern INSIDE = Pattern.compile(
            "(?<space>\\s+)"
                    + "|(?<real>\\d[\\d_]*(?:\\.\\d+(?:[eE][+-]?\\d+)?|[eE][+-]?\\d+))|(?<integer>\\d[\\d_]*)"
                    + "|(?<name>[\\p{L}_][\\p{L}\\p{N}_]*)"
                    + "|(?<text>'(?:[^'\\\\]|\\\\.)*+'|\"(?:[^\"\\\\]|\\\\.)*+\")"
                    + "|(?<operator>\\*\\*|//|==|!=|<=|>=|[-+*/%~<>=()\\[\\]{},.:|])",
            Pattern.DOTALL);

    private final String source;
    private final List<Token> tokens = new ArrayList<>();
    private int position;
    private int line = 1;
    private boolean dropsLineEnd;
    private boolean dropsSpace;

    private Lexer(String source) {
        String unified = source.replace("\r\n", "\n").replace('\r', '\n');
        this.source = unified.endsWith("\n") ? unified.substring(0, unified.length() - 1) : unified;
    }

    static List<Token> tokens(String source) {
        Lexer lexer = new Lexer(source);
        lexer.run();
        return lexer.tokens;
    }

    private void run() {
        while (position < source.length()) {
            int tag = nextTag();
            if (tag < 0) {
                data(source.substring(position), "", false);
                position = source.length();
            } else {
                tag(tag);
            }
        }
        tokens.add(new Token(Kind.END, "", line));
    }

    private int nextTag() {
        for (int at = source.indexOf('{', position); at >= 0; at = source.indexOf('{', at + 1)) {
            if (at + 1 < source.length() && "{%#".indexOf(source.charAt(at + 1)) >= 0) {
                return at;
            }
        }
        return -1;
    }

    private void tag(int at) {
        char kind = source.charAt(at + 1);
        String sign = at + 2 < source.length() && "-+".indexOf(source.charAt(at + 2)) >= 0
                ? source.substring(at + 2, at + 3)
                : "";
        data(source.substring(position, at), sign, kind != '{');
        position = at + 2 + sign.length();
        Matcher raw = RAW.matcher(source).region(at, source.length());
        if (kind == '#') {
            comment();
        } else if (kind == '%' && raw.lookingAt()) {
            raw(raw);
        } else {
            add(kind == '{' ? Kind.PRINT : Kind.BLOCK, "");
            inside(kind == '{' ? "}}" : "%}");
        }
    }

    /** Text before a tag, without what its neighbours strip. */
    private void data(String text, String sign, boolean beforeBlock) {
        String kept = text;
        if (dropsSpace) {
            kept = kept.stripLeading();
        } else if (dropsLineEnd && kept.startsWith("\n")) {
            kept = kept.substring(1);
        }
        if (sign.equals("-")) {
            kept = kept.stripTrailing();
        } else if (beforeBlock && !sign.equals("+")) {
            kept = withoutIndent(text, kept);
        }
        dropsSpace = false;
        dropsLineEnd = false;
        if (!kept.isEmpty()) {
            tokens.add(new Token(Kind.DATA, kept, line));
        }
        count(text);
    }

    /** Blanks between the beginning of the line and a block tag. */
    private String withoutIndent(String text, String kept) {
        int end = kept.length();
        while (end > 0 && (kept.charAt(end - 1) == ' ' || kept.charAt(end - 1) == '\t')) {
            end--;
        }
        boolean lineBegins =
                end > 0 ? kept.charAt(end - 1) == '\n' : position == 0 || (!text.equals(kept) && text.startsWith("\n"));
        return lineBegins ? kept.substring(0, end) : kept;
    }

    private void count(String text) {
        line += (int) text.chars().filter(c -> c == '\n').count();
    }

    private void comment() {
        int end = source.indexOf("#}", position);
        if (end < 0) {
            throw problem("a comment is not closed");
        }
        count(source.substring(position, end));
        closed(end > position ? source.charAt(end - 1) : ' ', true);
        position = end + 2;
    }

    private void raw(Matcher begin) {
        Matcher end = END_RAW.matcher(source);
        if (!end.find(begin.end())) {
            throw problem("raw is not closed");
        }
        closed(begin.group(2).isEmpty() ? ' ' : begin.group(2).charAt(0), true);
        position = begin.end();
        data(source.substring(begin.end(), end.start()), end.group(1), true);
        closed(end.group(2).isEmpty() ? ' ' : end.group(2).charAt(0), true);
        position = end.end();
    }

    private void closed(char sign, boolean block) {
        dropsSpace = sign == '-';
        dropsLineEnd = block && sign != '+';
    }

    private void inside(String close) {
        int open = 0;
        while (true) {
            if (open == 0 && closes(close)) {
                return;
            }
            Matcher token = INSIDE.matcher(source).region(position, source.length());
            if (!token.lookingAt()) {
                throw problem(
                        position >= source.length()
                                ? "a tag is not closed"
                                : "unexpected character '%s'".formatted(source.charAt(position)));
            }
            String text = token.group();
            position = token.end();
            if (token.group("operator") != null) {
                open += "([{".contains(text) ? 1 : ")]}".contains(text) ? -1 : 0;
                add(Kind.OPERATOR, text);
            } else if (token.group("name") != null) {
                add(Kind.NAME, text);
            } else if (token.group("text") != null) {
                add(Kind.TEXT, unescaped(text.substring(1, text.length() - 1)));
            } else if (token.group("space") == null) {
                number(token.group("real") == null ? Kind.INTEGER : Kind.REAL, text.replace("_", ""));
            }
            count(text);
        }
    }

    private void number(Kind kind, String digits) {
        if (digits.length() > MOST_DIGITS) {
            throw problem("a number has %d digits; at most %d are possible".formatted(digits.length(), MOST_DIGITS));
        }
        add(kind, digits);
    }

    private boolean closes(String close) {
        int at = position;
        char sign = at < source.length() ? source.charAt(at) : ' ';
        if ((sign == '-' || sign == '+') && source.startsWith(close, at + 1)) {
            at++;
        } else {
            sign = ' ';
        }
        if (!source.startsWith(close, at)) {
            return false;
        }
        add(Kind.CLOSE, "");
        closed(sign, close.equals("%}"));
        position = at + close.length();
        return true;
    }

    private void add(Kind kind, String text) {
        tokens.add(new Token(kind, text, line));
    }

    /** A text as Python reads it. */
    private String unescaped(String text) {
        if (text.indexOf('\\') < 0) {
            return text;
        }
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c != '\\' || i + 1 == text.length()) {
                out.append(c);
                continue;
            }
            char escape = text.charAt(++i);
            int digits = escape == 'x' ? 2 : escape == 'u' ? 4 : escape == 'U' ? 8 : 0;
            if (digits > 0 && i + digits < text.length()) {
                out.appendCodePoint(codePoint(text.substring(i + 1, i + 1 + digits)));
                i += digits;
            } else {
                int known = "abfnrtv0\\'\"\n".indexOf(escape);
                out.append(
                        known < 0
                                ? "\\" + escape
                                : known == 11 ? "" : "\u0007\b\f\n\r\t\u000B\0\\'\"".substring(known, known + 1));
            }
        }
        return out.toString();
    }

    private int codePoint(String digits) {
        if (!HEX.matcher(digits).matches() || Long.parseLong(digits, 16) > Character.MAX_CODE_POINT) {
            throw problem("\\%s is no character".formatted(digits));
        }
        return Integer.parseInt(digits, 16);
    }

    private JinjaException problem(String what) {
        return new JinjaException("line %d: %s".formatted(line, what));
    }
}
