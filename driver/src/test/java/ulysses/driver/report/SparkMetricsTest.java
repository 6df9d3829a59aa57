package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.Test;
import ulysses.runtime.mesh.RankEvent;

/** As Prometheus reads them: from the page that Spark's own sink serves, with the settings that submit.sh gives. */
class SparkMetricsTest {

    @Test
    void prometheusReadsTheRunFromTheDriversPage() throws Exception {
        SparkConf conf = new SparkConf(false)
                .setMaster("local[1]")
                .setAppName("metrics")
                .set("spark.ui.port", "0")
                .set("spark.metrics.namespace", "ulysses")
                .set(
                        "spark.metrics.conf.*.sink.prometheusServlet.class",
                        "org.apache.spark.metrics.sink.PrometheusServlet")
                .set("spark.metrics.conf.*.sink.prometheusServlet.path", "/metrics/prometheus");
        try (JavaSparkContext spark = new JavaSparkContext(conf)) {
            SparkMetrics metrics =
                    SparkMetrics.register(OptionalDouble.of(4e12)).orElseThrow();
            metrics.accept(new RankEvent.Placed(0, "host-a", null, 1));
            metrics.accept(new RankEvent.Placed(1, "host-a", null, 1));
            metrics.accept(new RankEvent.Placed(0, "host-a", null, 2));
            metrics.accept(new RankEvent.Placed(1, "host-b", null, 2));
            metrics.accept(new RankEvent.Phase(0, "load", 0));
            metrics.accept(ReportedRun.step(3, 2.5));
            metrics.accept(new RankEvent.Measured(0, 3, 0.35, 0.1, 0.05, 1 << 20, Map.of(), 0.25, 2e12));
            metrics.accept(new RankEvent.Warning(1, "little memory left"));

            String page = page(spark);

            assertThat(page)
                    .contains("metrics_ulysses_driver_ulysses_step_Value{type=\"gauges\"} 3.0")
                    .contains("metrics_ulysses_driver_ulysses_loss_Value{type=\"gauges\"} 2.5")
                    .contains("metrics_ulysses_driver_ulysses_tokens_per_second_Value{type=\"gauges\"} 2000.0")
                    .contains("metrics_ulysses_driver_ulysses_reduce_seconds_Value{type=\"gauges\"} 0.1")
                    .contains("metrics_ulysses_driver_ulysses_wait_share_Value{type=\"gauges\"} 0.25")
                    .contains(
                            "metrics_ulysses_driver_ulysses_useful_tflop_per_second_per_rank_Value{type=\"gauges\"} 2.0")
                    .contains("metrics_ulysses_driver_ulysses_mfu_Value{type=\"gauges\"} 0.5")
                    .contains("metrics_ulysses_driver_ulysses_attempts_Value{type=\"gauges\"} 1.0")
                    .contains("metrics_ulysses_driver_ulysses_warnings_Value{type=\"gauges\"} 1.0");

            metrics.end(RunRecord.Ending.DONE);

            assertThat(page(spark)).doesNotContain("ulysses_step_Value");
        }
        assertThat(SparkMetrics.register(OptionalDouble.empty())).isEmpty();
    }

    @Test
    void theDashboardShowsMetricsThatAreThere() throws Exception {
        SparkConf conf =
                new SparkConf(false).setMaster("local[1]").setAppName("names").set("spark.ui.enabled", "false");
        List<String> shown = new ArrayList<>();
        new ObjectMapper()
                .readTree(Path.of("..", "deploy", "grafana", "ulysses.json").toFile())
                .findValuesAsText("expr")
                .forEach(expression -> shown.add(expression
                        .replace("metrics_ulysses_driver_ulysses_", "")
                        .replaceAll("_Value$", "")));
        try (JavaSparkContext spark = new JavaSparkContext(conf)) {
            SparkMetrics metrics = SparkMetrics.register(OptionalDouble.of(1)).orElseThrow();

            assertThat(shown).hasSizeGreaterThan(10);
            assertThat(metrics.metricRegistry().getNames()).containsAll(shown);

            metrics.end(RunRecord.Ending.DONE);
        }
    }

    @Test
    void panelsOfTheDashboardHaveUnitsAndDoNotOverlap() throws Exception {
        Set<List<Integer>> cells = new HashSet<>();
        for (JsonNode panel : new ObjectMapper()
                .readTree(Path.of("..", "deploy", "grafana", "ulysses.json").toFile())
                .path("panels")) {
            assertThat(panel.at("/fieldConfig/defaults/unit").asText())
                    .as(panel.path("title").asText())
                    .isNotEmpty();
            JsonNode place = panel.path("gridPos");
            int right = place.path("x").asInt() + place.path("w").asInt();
            int bottom = place.path("y").asInt() + place.path("h").asInt();
            assertThat(right).isLessThanOrEqualTo(24);
            for (int x = place.path("x").asInt(); x < right; x++) {
                for (int y = place.path("y").asInt(); y < bottom; y++) {
                    assertThat(cells.add(List.of(x, y)))
                            .as("%s at %d, %d", panel.path("title"), x, y)
                            .isTrue();
                }
            }
        }
        assertThat(cells).hasSizeGreaterThan(24 * 24);
    }

    private static String page(JavaSparkContext spark) throws Exception {
        URI uri = URI.create(spark.sc().uiWebUrl().get() + "/metrics/prometheus/");
        return HttpClient.newHttpClient()
                .send(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString())
                .body();
    }
}
