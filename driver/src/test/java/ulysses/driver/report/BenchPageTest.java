package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;

final class BenchPageTest {

    private static final BenchPage PAGE = new BenchPage(
            "tiny & small",
            List.of(
                    new BenchPage.Step("P = 1", 1024, 0.5, 1L << 30, Map.of("attention", 0.2)),
                    new BenchPage.Step("P = 1", 2048, 1.5, 3L << 29, Map.of("attention", 0.9)),
                    new BenchPage.Step("P = 2", 1024, 0.25, 1L << 29, Map.of("attention", 0.1, "exchange", 0.05))));

    @Test
    void aTableHoldsEachLengthAndSetting() {
        assertThat(PAGE.html())
                .contains("<h1>tiny &amp; small</h1>")
                .contains(
                        "<td>P = 1</td><td class=\"right\">2,048</td><td class=\"right\">1.50</td><td class=\"right\">1.500</td><td class=\"right\">1,365</td>")
                .contains("<td class=\"right\">0.100</td>", "<td class=\"right\">0.050</td></tr>");
    }

    @Test
    void memoryTimeAndPartsAreDrawnOverTheLength() throws Exception {
        List<String> figures =
                PAGE.html().lines().filter(line -> line.startsWith("<svg")).toList();

        assertThat(figures).hasSize(4); // memory, step, attention, exchange
        assertThat(PAGE.html())
                .contains("<span class=\"key first\">P = 1</span> <span class=\"key second\">P = 2</span>")
                .contains("<title>tokens 2048, P = 1: 1.5")
                .contains("text-anchor=\"middle\">tokens</text>");
        String body = PAGE.html().replace("<!DOCTYPE html>", "").replace("<meta charset=\"utf-8\">", "");
        DocumentBuilderFactory.newInstance()
                .newDocumentBuilder()
                .parse(new ByteArrayInputStream(body.getBytes(StandardCharsets.UTF_8))); // every element is closed
    }
}
