package ulysses.driver.tokenizer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.Serializable;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import ulysses.driver.dataset.PythonJson;
import ulysses.runtime.data.DataException;

/**
 * The text of tools and of calls of them, made from the JSON that rows hold.
 *
 * @param format how a model family writes them
 * @param kept what may stand before a call and is kept, and what a call that is already marked stands between; empty where
 *     everything has to be the call, which LLaMA-Factory wants of templates that hold the system text in the first question
 * @param literal applied to every text in the JSON
 */
record FunctionText(ToolFormat format, List<Pattern> kept, LiteralTokens literal) implements Serializable {

    private static final int SHOWN = 100;

    /** For templates that know thoughts and marks. */
    static FunctionText of(ToolFormat format, ChatTemplate template, LiteralTokens literal) {
        return new FunctionText(
                format,
                template.systemInUser()
                        ? List.of()
                        : List.of(between(template.toolCallWords()), between(template.thoughtWords())),
                literal);
    }

    /** Text between two words, the words included; group 1 is without them. */
    static Pattern between(List<String> words) {
        return Pattern.compile(words.stream().map(Pattern::quote).collect(Collectors.joining("(.*?)")), Pattern.DOTALL);
    }

    /** What stands behind the system text. */
    String toolText(String tools, String date) {
        return format.toolText(json(tools, tools, "tools", "a JSON list of tools, or leave it empty"), date);
    }

    /** A call with the thought before it. A call already marked is unwrapped first. */
    String callText(String content) {
        if (kept.isEmpty()) {
            return written(content, content);
        }
        Matcher marked = kept.get(0).matcher(content);
        if (marked.find()) {
            return literal.mark(content.replace(marked.group(), "")) + written(marked.group(1), content);
        }
        Matcher thinking = kept.get(1).matcher(content);
        return thinking.find()
                ? literal.mark(thinking.group()) + written(content.replace(thinking.group(), ""), content)
                : written(content, content);
    }

    private String written(String json, String content) {
        JsonNode calls = json(json, content, "a function call", "{\"name\": ..., \"arguments\": ...}");
        return format.callText(ToolFormat.calls(calls));
    }

    private JsonNode json(String text, String content, String what, String instead) {
        try {
            return literal.mark(PythonJson.parse(text));
        } catch (JsonProcessingException damaged) {
            String shown = content.length() <= SHOWN ? content : content.substring(0, SHOWN) + "...";
            throw new DataException(
                    "%s is not valid JSON: %s in %s; write %s"
                            .formatted(what, damaged.getOriginalMessage(), shown, instead),
                    damaged);
        }
    }
}
