package ulysses.driver.tokenizer;

import java.util.List;
import java.util.stream.Collectors;

/**
 * A chat template of slots, written in Jinja for {@code apply_chat_template}: the same texts in the same order. Every question ends
 * with the header of its answer, so {@code add_generation_prompt} changes nothing. Tools and thoughts are not written; a template
 * that came with the tokenizer knows more and is better kept.
 */
final class SlotsAsJinja {
    private static final String CONTENT = "{{content}}";
    private static final String TURN = "{{idx}}";
    private static final String TURN_NUMBER = "(loop.index0 // 2)";

    private final ChatTemplate template;
    private final String bos;
    private final String eos;

    private SlotsAsJinja(ChatTemplate template, String bos, String eos) {
        this.template = template;
        this.bos = bos;
        this.eos = eos;
    }

    /**
     * The text of the template.
     *
     * @param defaultSystem stands where a conversation has no system text
     * @param bos begin of text, written out; empty where there is none
     * @param eos end of text, written out
     */
    static String of(ChatTemplate template, String defaultSystem, String bos, String eos) {
        return new SlotsAsJinja(template, bos, eos).text(defaultSystem);
    }

    private String text(String defaultSystem) {
        boolean inUser = template.systemInUser();
        String system = inUser
                ? expression(template.system().subList(0, 1), "system")
                : expression(template.system(), "system");
        String question = inUser ? "lead ~ message['content']" : "message['content']";
        return """
                {%%- set given = messages[0]['role'] == 'system' -%%}
                {%%- set system = messages[0]['content'] if given else %s -%%}
                {{- %s -}}
                %s
                {%%- for message in (messages[1:] if given else messages) -%%}
                {%%- set lead = %s -%%}
                {%%- if message['role'] == 'assistant' -%%}{{- %s -}}
                {%%- elif message['role'] == 'tool' -%%}{{- %s -}}
                {%%- else -%%}{{- %s -}}{%%- endif -%%}
                {%%- endfor -%%}
                """.formatted(
                        quoted(defaultSystem),
                        expression(template.prefix(), "''"),
                        inUser ? "{#- the system text stands in the first question -#}" : whereGiven(system),
                        inUser ? "(%s) if loop.first and system else ''".formatted(system) : "''",
                        expression(template.assistant(), "message['content']"),
                        expression(template.observation(), "message['content']"),
                        expression(template.user(), question));
    }

    private static String whereGiven(String system) {
        return "{%%- if system -%%}{{- %s -}}{%%- endif -%%}".formatted(system);
    }

    /** Elements joined, with {@code content} in its place. */
    private String expression(List<SlotElement> elements, String content) {
        String joined = elements.stream()
                .map(element -> piece(element, content))
                .filter(piece -> !piece.isEmpty())
                .collect(Collectors.joining(" ~ "));
        return joined.isEmpty() ? "''" : joined;
    }

    private String piece(SlotElement element, String content) {
        if (element instanceof SlotElement.Text text) {
            return around(text.text(), CONTENT, content);
        } else if (element instanceof SlotElement.Token token) {
            return quoted(token.name());
        }
        String special = element instanceof SlotElement.Bos ? bos : eos;
        return special.isEmpty() ? "" : quoted(special);
    }

    /** Text with {@code value} in place of the first {@code placeholder}. */
    private static String around(String text, String placeholder, String value) {
        int at = text.indexOf(placeholder);
        if (at < 0) {
            return placeholder.equals(CONTENT) ? around(text, TURN, TURN_NUMBER) : quoted(text);
        }
        String before = text.substring(0, at);
        String after = text.substring(at + placeholder.length());
        String inner = before.isEmpty() ? "" : around(before, TURN, TURN_NUMBER) + " ~ ";
        String rest = after.isEmpty() ? "" : " ~ " + around(after, TURN, TURN_NUMBER);
        return inner + value + rest;
    }

    private static String quoted(String text) {
        return "'"
                + text.replace("\\", "\\\\")
                        .replace("'", "\\'")
                        .replace("\n", "\\n")
                        .replace("\t", "\\t")
                + "'";
    }
}
