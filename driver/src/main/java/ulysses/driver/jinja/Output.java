package ulysses.driver.jinja;

import java.util.ArrayList;
import java.util.List;

/** Text as it is made, and which parts of it a {@code generation} block wrote. */
final class Output {
    private final StringBuilder text = new StringBuilder();
    private final List<JinjaTemplate.Span> generated = new ArrayList<>();

    void append(String piece) {
        text.append(piece);
    }

    int length() {
        return text.length();
    }

    void generated(int start) {
        generated.add(new JinjaTemplate.Span(start, text.length()));
    }

    List<JinjaTemplate.Span> generated() {
        return generated;
    }

    @Override
    public String toString() {
        return text.toString();
    }
}
