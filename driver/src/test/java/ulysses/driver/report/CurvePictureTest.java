package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.weights.Folder;

/** Pictures are decoded again and searched for the two blues; they lie in target/pictures for people. */
class CurvePictureTest {
    private static final Path RECORDED = Path.of("src", "test", "resources", "report");
    private static final int BLUE = 0xff1f77b4;
    private static final int PALE = 0xffa5c9e1;

    @BeforeAll
    static void noDisplay() {
        System.setProperty("java.awt.headless", "true");
    }

    @ParameterizedTest
    @CsvSource({
        "sft-eval-qwen2, loss, training_loss.png",
        "sft-eval-qwen2, eval_loss, training_eval_loss.png",
        "dpo-lora-sigmoid-ftx, rewards/accuracies, training_rewards_accuracies.png",
        "dpo-lora-sigmoid-ftx, rewards/margins, training_rewards_margins.png"
    })
    void drawsWhatLlamaFactoryLogged(String run, String name, String file) throws IOException {
        Configuration hadoop = new Configuration(false);
        Series series = RunRecord.read(Folder.at(RECORDED.resolve(run).toString(), hadoop), hadoop)
                .series(name);

        BufferedImage picture = draw(series, run);

        assertThat(CurvePicture.fileName(name)).isEqualTo(file);
        assertThat(pixels(picture, BLUE)).as("smoothed").isGreaterThan(500);
        assertThat(pale(picture)).as("original").isGreaterThan(300);
    }

    /** Smoothing rounds the second one, which must not look like another value. */
    @ParameterizedTest
    @ValueSource(doubles = {2.5, 7.022682281809416, 0})
    void aSinglePointIsSeenOnce(double value) throws IOException {
        BufferedImage picture = draw(SeriesTest.series(value), "one");

        BufferedImage besideLegend = picture.getSubimage(0, 0, 800, picture.getHeight());
        assertThat(pixels(besideLegend, BLUE)).isGreaterThan(40);
        assertThat(pixels(besideLegend, PALE)).isZero();
    }

    @Test
    void aHundredThousandStepsAreDrawn() throws IOException {
        Random noise = new Random(7);
        double[] loss = IntStream.range(0, 100_000)
                .mapToDouble(i -> 2 + 3 * Math.exp(-i / 2e4) + 0.4 * noise.nextGaussian())
                .toArray();

        assertThat(pixels(draw(SeriesTest.series(loss), "long"), BLUE)).isGreaterThan(800);
    }

    private static BufferedImage draw(Series series, String run) throws IOException {
        byte[] png = CurvePicture.png(series, run);
        Path kept = Files.createDirectories(Path.of("target", "pictures"));
        Files.write(kept.resolve(run + "-" + CurvePicture.fileName(series.name())), png);
        return ImageIO.read(new ByteArrayInputStream(png));
    }

    private static long pixels(BufferedImage picture, int colour) {
        return all(picture).filter(pixel -> pixel == colour).count();
    }

    /** The curve's blue mixed with white. */
    private static long pale(BufferedImage picture) {
        return all(picture)
                .filter(pixel -> (pixel & 255) > ((pixel >> 16) & 255) + 40 && pixel != BLUE)
                .count();
    }

    private static IntStream all(BufferedImage picture) {
        return IntStream.range(0, picture.getWidth() * picture.getHeight())
                .map(i -> picture.getRGB(i % picture.getWidth(), i / picture.getWidth()));
    }
}
