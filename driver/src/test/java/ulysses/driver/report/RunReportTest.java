package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.driver.dataset.PythonJson;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.mesh.RankEvent;

/** Page, card and pictures of runs that LLaMA-Factory recorded. */
class RunReportTest {
    @TempDir
    private Path folder;

    private ReportedRun recorded(String more) throws Exception {
        ReportedRun run = new ReportedRun(folder);
        run.told(more);
        run.recorded("sft-eval-qwen2");
        try (RunJournal journal = run.journal()) {
            ReportedRun.train(journal, 1, 4);
            journal.accept(new RankEvent.Warning(0, "step 3: loss <NaN> & more"));
            journal.accept(new RankEvent.Done(0, 4));
        }
        return run;
    }

    @Test
    void makesCardPicturesAndPage() throws Exception {
        ReportedRun run = recorded("plot_loss: true");

        RunReport.Made made = RunReport.finished(run.output, ReportedRun.HADOOP);

        assertThat(made.files())
                .containsExactly("README.md", "training_loss.png", "training_eval_loss.png", "report.html");
        assertThat(run.output.read("training_loss.png")).startsWith(0x89, 'P', 'N', 'G');
    }

    @Test
    void rewardsAreDrawnToo() throws Exception {
        ReportedRun run = new ReportedRun(folder);
        run.told("plot_loss: true");
        run.recorded("dpo-lora-sigmoid-ftx");

        assertThat(RunReport.finished(run.output, ReportedRun.HADOOP).files())
                .containsExactlyInAnyOrder(
                        "README.md",
                        "training_loss.png",
                        "training_rewards_accuracies.png",
                        "training_rewards_chosen.png",
                        "training_rewards_margins.png",
                        "training_rewards_rejected.png",
                        "report.html");
    }

    @Test
    void withoutPlotLossNothingIsDrawn() throws Exception {
        assertThat(RunReport.finished(recorded("").output, ReportedRun.HADOOP).files())
                .containsExactly("README.md", "report.html");
    }

    @Test
    void thePageNeedsNothingElseAndHidesSecrets() throws Exception {
        ReportedRun run = recorded("hf_hub_token: hf_topsecret\nlogging_dir: s3a://key:topsecret@bucket/board");

        RunReport.Made made = RunReport.finished(run.output, ReportedRun.HADOOP);
        String page = run.output.readText("report.html");

        assertThat(page)
                .doesNotContain("topsecret")
                .doesNotContainPattern("<script|<link|<img|src=|@import|url\\(|https?://")
                .contains("hf_hub_token")
                .contains("s3a://***@bucket/board")
                .contains("warning of rank 0: step 3: loss &lt;NaN&gt; &amp; more")
                .contains("trainer_log.jsonl")
                .contains(">done<");
        assertThat(run.output.readText(RunArguments.FILE)).doesNotContain("topsecret");
        assertThat(run.output.readText("README.md")).doesNotContain("topsecret");
        assertThat(made.notes()).hasSize(1).first().asString().startsWith("report.html shows no examples");
    }

    @Test
    void chartsAreWellFormedAndShowTheirCurves() throws Exception {
        ReportedRun run = recorded("");
        RunReport.finished(run.output, ReportedRun.HADOOP);

        Matcher charts = Pattern.compile("<figcaption><b>([^<]+)</b>.*?(<svg .*?</svg>)", Pattern.DOTALL)
                .matcher(run.output.readText("report.html"));

        List<String> titles = charts.results()
                .peek(chart -> assertWellFormed(chart.group(2)))
                .filter(chart -> chart.group(2).contains("<path class=\"line"))
                .map(chart -> chart.group(1))
                .toList();
        assertThat(titles).containsExactly("Loss", "Learning rate", "Gradient norm", "Throughput", "Memory of rank 0");
    }

    private static void assertWellFormed(String svg) {
        try {
            DocumentBuilderFactory.newInstance()
                    .newDocumentBuilder()
                    .parse(new ByteArrayInputStream(svg.getBytes(StandardCharsets.UTF_8)));
        } catch (Exception e) {
            throw new AssertionError(svg, e);
        }
    }

    @Test
    void examplesMarkTrainedTokensAndCannotInject() {
        RowText text = new RowText(ids -> new String(ids, 0, ids.length), RowText.Marks.PLAIN, RowText.Length.SHORT);
        int[] ids = "a<b>&c".chars().toArray();
        int[] labels = ids.clone();
        labels[0] = PackedRow.IGNORE_INDEX;
        labels[1] = PackedRow.IGNORE_INDEX;
        ReportedRun run = new ReportedRun(folder);

        String page = ReportPage.html(
                run.read(), List.of(text.documents(new PackedRow(ids, labels, new int[] {6}))), run.output);

        assertThat(page).contains("<pre>a&lt;<mark>b&gt;&amp;c</mark></pre>").contains("row 0: 6 tokens, 4 trained");
    }

    @Test
    void aFailedRunHasAPageThatSaysWhy() throws Exception {
        ReportedRun run = new ReportedRun(folder);
        run.told("plot_loss: true");
        try (RunJournal journal = run.journal()) {
            ReportedRun.train(journal, 1, 2);
            journal.failed("storage", "disk full on host a");
        }

        RunReport.Made made = RunReport.unfinished(run.output, ReportedRun.HADOOP);

        assertThat(made.files()).containsExactly("report.html");
        assertThat(run.output.readText("report.html"))
                .contains("the run failed at step 2 (storage): disk full on host a")
                .contains("state failed");
    }

    @Test
    void theCardHasTheFrontMatterOfTheHub() throws Exception {
        ReportedRun run =
                recorded("learning_rate: 1e-5\nwarmup_ratio: 0.1\nbf16: true\ngradient_accumulation_steps: 4");
        RunReport.finished(run.output, ReportedRun.HADOOP);

        String card = run.output.readText("README.md");
        JsonNode front = new YAMLMapper().readTree(card.split("---\n", 3)[1]);

        assertThat(front.path("library_name").asText()).isEqualTo("transformers");
        assertThat(front.path("license").asText()).isEqualTo("other");
        assertThat(front.path("base_model").asText()).endsWith("/model");
        assertThat(front.path("tags").toString())
                .isEqualTo("[\"llama-factory\",\"full\",\"generated_from_trainer\",\"ulysses-on-spark\"]");
        assertThat(front.path("datasets").toString()).isEqualTo("[\"identity\",\"alpaca_en_demo\"]");
        assertThat(front.path("model-index").path(0).path("name").asText()).isEqualTo("out");
        assertThat(card)
                .contains("on the identity and the alpaca_en_demo datasets.")
                .contains("- Loss: 8.7291")
                .contains("- learning_rate: 1e-05")
                .contains("- total_train_batch_size: 32")
                .contains("- lr_scheduler_warmup_ratio: 0.1")
                .contains("- num_epochs: 3.0")
                .contains("- mixed_precision_training: bfloat16")
                .contains("| Training Loss | Epoch | Step | Validation Loss |")
                .contains("| 8.8858 | 0.2222 | 4 | 8.8607 |")
                .contains("- libtorch 2.");
    }

    @Test
    void theCardOfAnAdapterIsPefts() throws Exception {
        ReportedRun run = recorded("finetuning_type: lora");

        RunReport.finished(run.output, ReportedRun.HADOOP);

        assertThat(run.output.readText("README.md"))
                .contains("library_name: peft\n", "base_model: ", "- llama-factory\n- lora\n");
    }

    @Test
    void theLicenseOfTheBaseModelIsKept() throws Exception {
        ReportedRun run = recorded("");
        Files.writeString(folder.resolve("model/README.md"), "---\nlanguage: en\nlicense: apache-2.0\n---\n# base\n");

        RunReport.finished(run.output, ReportedRun.HADOOP);

        assertThat(run.output.readText("README.md")).contains("\nlicense: apache-2.0\n");
    }

    @Test
    void aCardThatAPersonWroteIsKept() throws Exception {
        ReportedRun run = recorded("");
        run.output.write("README.md", "# mine".getBytes(StandardCharsets.UTF_8));

        RunReport.Made made = RunReport.finished(run.output, ReportedRun.HADOOP);

        assertThat(run.output.readText("README.md")).isEqualTo("# mine");
        assertThat(made.notes()).anyMatch(note -> note.contains("is kept"));
    }

    @ParameterizedTest
    @CsvSource({
        "1e-5, 1e-05",
        "0.0001, 0.0001",
        "3, 3.0",
        "0.999, 0.999",
        "1.5e-8, 1.5e-08",
        "2.0e-3, 0.002",
        "1e20, 1e+20"
    })
    void numbersLookAsPythonPrintsThem(double value, String text) {
        assertThat(PythonJson.number(value)).isEqualTo(text);
    }
}
