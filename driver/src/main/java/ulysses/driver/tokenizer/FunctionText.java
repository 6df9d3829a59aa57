package ulysses.driver.tokenizer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.Serializable;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import ulysses.driver.dataset.PythonJson;
import ulysses.runtime.data.DataException;

/**
 * The text of tools and of calls of them, made from the JSON that rows hold.
 *
 * @param format how a model family writes them
 * @param thought what may stand before a call and is kept; empty where everything has to be the call, which LLaMA-Factory wants of
 *     templates that hold the system text in the first question
 */
record FunctionText(ToolFormat format, List<Pattern> thought) implements Serializable {

    private static final Pattern TOOL_CALL = Pattern.compile("<tool_call>(.*?)</tool_call>", Pattern.DOTALL);
    private static final int SHOWN = 100;

    /** What stands behind the system text. */
    String toolText(String tools, String date) {
        return format.toolText(json(tools, tools, "tools", "a JSON list of tools, or leave it empty"), date);
    }

    /** A call with the thought before it. A call already marked with tool_call tags is unwrapped first. */
    String callText(String content) {
        Matcher marked = TOOL_CALL.matcher(content);
        if (!thought.isEmpty() && marked.find()) {
            return content.replace(marked.group(), "") + written(marked.group(1), content);
        }
        for (Pattern pattern : thought) {
            Matcher thinking = pattern.matcher(content);
            if (thinking.find()) {
                return thinking.group() + written(content.replace(thinking.group(), ""), content);
            }
        }
        return written(content, content);
    }

    private String written(String json, String content) {
        JsonNode calls = json(json, content, "a function call", "{\"name\": ..., \"arguments\": ...}");
        return format.callText(ToolFormat.calls(calls));
    }

    private static JsonNode json(String text, String content, String what, String instead) {
        try {
            return PythonJson.parse(text);
        } catch (JsonProcessingException damaged) {
            String shown = content.length() <= SHOWN ? content : content.substring(0, SHOWN) + "...";
            throw new DataException(
                    "%s is not valid JSON: %s in %s; write %s"
                            .formatted(what, damaged.getOriginalMessage(), shown, instead),
                    damaged);
        }
    }
}
