package ulysses.driver.jinja;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.BooleanNode;
import com.fasterxml.jackson.databind.node.NullNode;
import java.io.IOException;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.driver.ReferenceFiles;

/**
 * Real chat templates on ten conversations each, as transformers 5.6.0 renders them with Jinja 3.1.6 (its
 * {@code render_jinja_template}, the clock set to 1 January 2026): the text, what generation blocks mark, and where it stops.
 */
class JinjaTemplateTest {
    private static final LocalDate TODAY = LocalDate.of(2026, 1, 1);
    private static final ObjectMapper JSON = new ObjectMapper();

    static Stream<Arguments> recorded() {
        return ReferenceFiles.lines("jinja/chat-templates").stream()
                .map(line -> Arguments.of(line.get("name").textValue(), line));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("recorded")
    void writesWhatTransformersWrites(String name, JsonNode line) {
        JinjaTemplate template = JinjaTemplate.parse(line.get("template").textValue());
        List<String> differences = new ArrayList<>();

        for (JsonNode expected : line.get("cases")) {
            try {
                JinjaTemplate.Rendered rendered = template.render(names(line, expected), TODAY);
                compare(name, expected, rendered, differences);
            } catch (JinjaException refused) {
                boolean alike = expected.has("error")
                        && (!expected.get("error").textValue().equals("TemplateError")
                                || expected.get("message").textValue().equals(refused.getMessage()));
                if (!alike) {
                    differences.add("%s/%s stops with %s instead of %s"
                            .formatted(
                                    name,
                                    expected.get("case").textValue(),
                                    refused.getMessage(),
                                    expected.path("message").asText("nothing")));
                }
            }
        }

        assertThat(differences).isEmpty();
    }

    private static void compare(
            String name, JsonNode expected, JinjaTemplate.Rendered rendered, List<String> differences) {
        String which = name + "/" + expected.get("case").textValue();
        if (expected.has("error")) {
            differences.add(which + " does not stop with " + expected.get("message"));
        } else if (!rendered.text().equals(expected.get("text").textValue())) {
            differences.add("%s is\n%s\ninstead of\n%s"
                    .formatted(which, rendered.text(), expected.get("text").textValue()));
        }
        if (expected.has("generated")) {
            List<List<Integer>> spans = rendered.generated().stream()
                    .map(span -> List.of(points(rendered, span.start()), points(rendered, span.end())))
                    .toList();
            if (!spans.toString()
                    .equals(JSON.convertValue(expected.get("generated"), List.class)
                            .toString())) {
                differences.add("%s marks %s instead of %s".formatted(which, spans, expected.get("generated")));
            }
        }
    }

    /** Python counts code points. */
    private static int points(JinjaTemplate.Rendered rendered, int chars) {
        return rendered.text().codePointCount(0, chars);
    }

    private static Map<String, JsonNode> names(JsonNode line, JsonNode given) {
        Map<String, JsonNode> names = new LinkedHashMap<>();
        line.get("tokens").properties().forEach(token -> names.put(token.getKey(), token.getValue()));
        names.put("messages", given.get("messages"));
        names.put("tools", given.get("tools"));
        names.put("documents", NullNode.getInstance());
        names.put("add_generation_prompt", given.get("add_generation_prompt"));
        if (given.has("enable_thinking")) {
            names.put("enable_thinking", BooleanNode.FALSE);
        }
        return names;
    }

    /** What Jinja 3.1.6 and Python write; white space is told apart, so | stands round each text. */
    @ParameterizedTest
    @CsvSource(
            delimiterString = " => ",
            quoteCharacter = '`',
            value = {
                "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 3 }} => 3 -4 1 2 3.5 8",
                "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ not 1 in [2] }} {{ 1 not in [2] }} => True False True True",
                "{{ 'ab' * 2 ~ (1 + 2) }} => abab3",
                "{{ 'abcdef'[1:3] }} {{ 'abcdef'[::-1] }} {{ 'abcdef'[-2:] }} {{ [1,2,3][:-1] }} => bc fedcba ef [1, 2]",
                "{{ '\ud83d\ude00b'|length }} {{ '\ud83d\ude00b'[0] }} => 2 \ud83d\ude00",
                "{{ none }} {{ true }} {{ 1.0 }} {{ 1e20 }} {{ ['a', none] }} {{ {'a': 1}['a'] }} => None True 1.0 1e+20 ['a', None] 1",
                "{{ x }}|{{ x is defined }}|{{ x|default('d') }}|{{ ''|default('d', true) }} => |False|d|d",
                "{% for i in range(3) if i != 1 %}{{ loop.index }}{{ i }}{% if not loop.last %},{% endif %}{% else %}none{% endfor %} => 10,22",
                "{% for i in [] %}x{% else %}none{% endfor %} => none",
                "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %} => a1b2",
                "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %} => 02",
                "{% set n = namespace(a=1) %}{% for i in range(3) %}{% set n.a = n.a + i %}{% endfor %}{{ n.a }} => 4",
                "{% set a = 1 %}{% for i in range(3) %}{% set a = 2 %}{% endfor %}{{ a }} => 1",
                "{% set a, b = 'x', 'y' %}{{ b }}{{ a }} => yx",
                "{% set t %}in {{ 1 }}{% endset %}{{ t|upper }} => IN 1",
                "{% macro m(a, b='d') %}{{ a }}{{ b }}{% endmacro %}{{ m('x') }}{{ m('x', b='y') }} => xdxy",
                "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in{% endcall %} => <in>",
                "{% filter upper %}ab{% endfilter %}{% raw %}{{ x }}{% endraw %} => AB{{ x }}",
                "{{ 'a' if x else 'b' }}{{ 'a' if x }} => b",
                "{{ ' a '|trim }}|{{ ' a '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,c'.split(',')[-1] }} => a|a|a|c",
                "{{ 'a b  c'.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} => ['a', 'b', 'c'] ['a', 'b,c'] ['a,b', 'c']",
                "{{ [{'r': 'u', 'n': 1}, {'r': 'a', 'n': 2}]|selectattr('r', 'equalto', 'a')|map(attribute='n')|list }} => [2]",
                "{{ ['b', 'A', 'c']|sort|join('-') }} {{ [3, 1]|max }} {{ [1, 2]|sum }} => A-b-c 3 3",
                "{{ {'b': 1, 'a': [1.5, none, true]}|tojson }} => {\"b\": 1, \"a\": [1.5, null, true]}",
                "{{ 'a\u00e4<\"'|tojson }} => \"a\u00e4<\\\"\"",
                "{{ 1 is number }} {{ 'a' is string }} {{ {} is mapping }} {{ [] is iterable }} {{ none is not none }} => True True True True False",
                "{{ {'get': 1}.get('x', 2) }} {{ {'items': 3}['items'] }} => 2 3",
                "{{ 'Ab'.lower() }} {{ 'ab cd'.title() }} {{ 'aXb'.replace('X', '-') }} {{ 'a'.startswith(('b', 'a')) }} => ab Ab Cd a-b True",
                "{{ strftime_now('%d %b %Y') }} {{ strftime_now('%-d %B') }} => 01 Jan 2026 1 January",
                "{{ -3|abs }} {{ '3'|int + 1 }} {{ 'x'|int }} {{ 2.567|round(2) }} => 3 4 0 2.57",
                "{{ '{} and {b}'.format(1, b=2) }} {{ '{1}{0}'.format(1, 2) }} => 1 and 2 21",
                "{{ 'aba'.replace('', '-') }} {{ 'aaa'.replace('a', 'bb', 2) }} => -a-b-a- bbbba",
                "{{ 'a  b c '.split(none, 1) }} {{ ' '.split() }} {{ '--'.join(['a', '', 'b']) }} => ['a', 'b c'] [] a----b",
                "{{ x|sort|list }} {{ '\\u0041\\x42' }} {{ [[1], 2] == [[1], 2] }} => [] AB True",
                "a {#- comment -#} b => ab"
            })
    void doesWhatJinjaDoes(String source, String expected) {
        assertThat(JinjaTemplate.parse(source).render(Map.of(), TODAY).text())
                .isEqualTo(expected == null ? "" : expected);
    }

    @Test
    void treatsWhiteSpaceAsTransformersAsksFor() {
        String source = "a\n  {% if true %}\n  b\n  {%- endif %}\n {{ 1 }}\n{%+ if true +%}\n c {% endif -%}\n\n d\n";

        assertThat(JinjaTemplate.parse(source).render(Map.of(), TODAY).text()).isEqualTo("a\n  b 1\n\n c d");
    }

    @ParameterizedTest
    @CsvSource(
            delimiterString = " => ",
            quoteCharacter = '`',
            value = {
                "{% if %} => line 1: a value is expected but the end is found",
                "{% if x %} => line 1: elif or else or endif is expected but the end is found",
                "{{ x => line 1: a tag is not closed",
                "{{ x|nothing }} => filter nothing is not known",
                "{{ x is nothing }} => test nothing is not known",
                "{% include 'x' %} => line 1: tag include is not known",
                "{{ x.y }} => 'x' is undefined",
                "{{ raise_exception('No!') }} => No!",
                "{{ 'a' + 1 }} => 'a' is not a whole number",
                "{{ range(1000000) }} => range of 1000000; at most 100000 is possible",
                "{{ 'a' * 10000000 }} => a text is repeated 10000000 times; that is too long",
                "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }} => macros call each other without an end, or values hold each other",
                "{{ [].append(1) }} => [] has no 'append'",
                "{{ ''.__class__ }}{{ ''.__class__.x }} => '' has no '__class__'",
                "{{ [1]|batch(0) }} => batches of 0 items are not possible",
                "{{ 9223372036854775807 + 1 }} => a number can't be computed: long overflow",
                "{{ -(-9223372036854775807 - 1) }} => a number can't be computed: long overflow",
                "{{ 4 is divisibleby(0) }} => a number can't be computed: / by zero",
                "{{ range(-9223372036854775807, 9223372036854775807) }} => a number can't be computed: long overflow",
                "{{ {[1]: 2} }} => [1] is not something that can be a key",
                "{{ [1] in {} }} => [1] is not something that can be a key",
                "{{ '\\xzz' }} => line 1: \\zz is no character",
                "{{ '\\UFFFFFFFF' }} => line 1: \\FFFFFFFF is no character",
                "{{ x. }} => line 1: a name is expected but the end is found",
                "{% set n = namespace() %}{% set n.n = n %}{{ n }} => macros call each other without an end, or values hold each other"
            })
    void stopsWithAReason(String source, String reason) {
        assertThatThrownBy(() -> JinjaTemplate.parse(source).render(Map.of(), TODAY))
                .isInstanceOf(JinjaException.class)
                .hasMessage(reason);
    }

    /** Each of these would take hours, or all memory. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
                "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
                "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
                "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
                "{% set n = namespace(x=1) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
                "{% set n = namespace(x=1) %}{% for i in range(99) %}{% set n.x = {'a': n.x, 'b': n.x} %}{% endfor %}",
                "{% macro m(n) %}{% for i in range(9) %}{{ m(n + 1) if n < 99 }}{% endfor %}{% endmacro %}{{ m(0) }}",
                "{{ 'x'|indent(2000000000) }}",
                "{{ ('a\n' * 99999)|indent(99999) }}",
                "{{ 'x'.zfill(2000000000) }}",
                "{{ [1]|tojson(indent=2000000000) }}",
                "{{ ('x' * 900000)|replace('x', 'x' * 900000) }}",
                "{{ range(90000)|join('x' * 900000) }}",
                "{{ ('x' * 900000).join(['a'] + range(99999)|map('string')|list) }}",
                "{{ range(99999)|map('replace', '', 'x' * 900000)|list }}",
                "{% for i in range(99999) %}{{ range(99999)|unique|length }}{% endfor %}",
                "{% set t = 'x' * 900000 %}{% for i in range(99999) %}{{ t.count('y') }}{% endfor %}"
            })
    void stopsWhatGrowsWithoutAnEnd(String source) {
        assertThatThrownBy(() -> JinjaTemplate.parse(source).render(Map.of(), TODAY))
                .isInstanceOf(JinjaException.class)
                .hasMessageStartingWith("it makes far more than it is given");
    }

    @Test
    void goesOverLongConversations() throws IOException {
        String message = "{\"role\": \"user\", \"content\": \"%s\"}".formatted("word ".repeat(1000));
        String source = "{% for m in messages %}{% if 'x' not in m.content and loop.index <= messages|length %}"
                + "{{ (messages[loop.index0].content|trim).split(' ')[0] + m['role'] }}{% endif %}{% endfor %}";
        JsonNode messages = JSON.readTree("[%s]".formatted(String.join(",", Collections.nCopies(500, message))));

        String text = JinjaTemplate.parse(source)
                .render(Map.of("messages", messages), TODAY)
                .text();

        assertThat(text).isEqualTo("worduser".repeat(500));
    }

    @ParameterizedTest
    @ValueSource(strings = {"(1)", "[1]", "not 1", "-1", "{1:1}"})
    void refusesWhatNestsTooDeep(String nested) {
        String opening = nested.substring(0, nested.lastIndexOf('1'));
        String closing = nested.substring(nested.lastIndexOf('1') + 1);
        String source = "{{ " + opening.repeat(100_000) + "1" + closing.repeat(100_000) + " }}";

        assertThatThrownBy(() -> JinjaTemplate.parse(source))
                .isInstanceOf(JinjaException.class)
                .hasMessage("it nests too deep");
    }

    @Test
    void readsLongTexts() {
        String text = "x\\'".repeat(100_000);

        String written = JinjaTemplate.parse("{{ '" + text + "' }}")
                .render(Map.of(), TODAY)
                .text();

        assertThat(written).hasSize(200_000);
    }

    @Test
    void marksWhatAnswersAre() throws IOException {
        JinjaTemplate template =
                JinjaTemplate.parse("{% for m in messages %}[{% generation %}{{ m }}{% endgeneration %}]{% endfor %}");

        JinjaTemplate.Rendered rendered = template.render(Map.of("messages", JSON.readTree("[\"ab\", \"c\"]")), TODAY);

        assertThat(rendered.text()).isEqualTo("[ab][c]");
        assertThat(rendered.generated()).containsExactly(new JinjaTemplate.Span(1, 3), new JinjaTemplate.Span(5, 6));
    }
}
