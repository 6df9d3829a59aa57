package ulysses.driver.dataset;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.core.JsonProcessingException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PythonJsonTest {

    private static String rewritten(String json) throws JsonProcessingException {
        return PythonJson.write(PythonJson.parse(json));
    }

    @ParameterizedTest
    @CsvSource({
        "1.10, 1.1",
        "1e5, 100000.0",
        "1E-7, 1e-07",
        "1e16, 1e+16",
        "1e15, 1000000000000000.0",
        "0.0001, 0.0001",
        "0.00001, 1e-05",
        "123456789012345680.0, 1.2345678901234568e+17",
        "-0.0, -0.0",
        "-0, 0",
        "0.30000000000000004, 0.30000000000000004",
        "5e-324, 5e-324",
        "2e23, 2e+23",
        "1.0E23, 1e+23",
        "9007199254740993.0, 9007199254740992.0",
        "2.2250738585072014e-308, 2.2250738585072014e-308",
        "1.7976931348623157e308, 1.7976931348623157e+308",
        "1e400, Infinity",
        "NaN, NaN",
        "-Infinity, -Infinity",
        "12345678901234567890123, 12345678901234567890123",
        "true, true",
        "null, null"
    })
    void writesNumbersAsPythonDoes(String json, String expected) throws JsonProcessingException {
        assertThat(rewritten(json)).isEqualTo(expected);
    }

    @Test
    void keepsTheOrderOfKeysAndTheLastOfEqualOnes() throws JsonProcessingException {
        assertThat(rewritten("{\"z\":1,\"a\":[],\"z\":{\"x\":[1,2]}}"))
                .isEqualTo("{\"z\": {\"x\": [1, 2]}, \"a\": []}");
    }

    @Test
    void escapesOnlyWhatPythonEscapes() throws JsonProcessingException {
        assertThat(rewritten("\"\\u4e2d \\/ \\\" \\\\ \\n \\u0001 \\u007f \\u2028 \\ud83d\\ude00\""))
                .isEqualTo("\"中 / \\\" \\\\ \\n \\u0001 \u007f \u2028 😀\"");
    }

    @Test
    void indentsByFour() throws JsonProcessingException {
        assertThat(PythonJson.writeIndented(PythonJson.parse("{\"a\":[1,{\"b\":null}],\"c\":{},\"d\":[]}")))
                .isEqualTo("""
                        {
                            "a": [
                                1,
                                {
                                    "b": null
                                }
                            ],
                            "c": {},
                            "d": []
                        }""");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "\"text\" | text",
                "[\"string\",\"null\"] | ['string', 'null']",
                "[\"it's\", \"a \\\"b\\\"\", 1.50, true, null] | [\"it's\", 'a \"b\"', 1.5, True, None]",
                "{\"a\": {\"b\": false}} | {'a': {'b': False}}"
            })
    void putsValuesIntoTextsAsPythonDoes(String json, String expected) throws JsonProcessingException {
        assertThat(PythonJson.str(PythonJson.parse(json))).isEqualTo(expected);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "  ", "{\"a\": 1} x", "{'a': 1}", "[1,]", "\"a\nb\"", "01"})
    void refusesWhatPythonRefuses(String json) {
        assertThatThrownBy(() -> PythonJson.parse(json)).isInstanceOf(JsonProcessingException.class);
    }
}
