package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import ulysses.runtime.memory.TensorBytes;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.TensorData;

@Timeout(60)
final class BackgroundWriterTest {

    @Test
    void theStepsGoOnWhileItWrites() throws Exception {
        CountDownLatch release = new CountDownLatch(1);
        try (BackgroundWriter writer = new BackgroundWriter()) {
            BackgroundWriter.Work work = writer.begin(() -> release.await(30, TimeUnit.SECONDS), all -> {});

            work.check(); // returns at once: nothing has failed
            release.countDown();
            work.awaitWritten();
            work.awaitDone();
        }
    }

    @Test
    void failuresReachTheThreadOfTheSteps() {
        try (BackgroundWriter writer = new BackgroundWriter()) {
            BackgroundWriter.Work work = writer.begin(
                    () -> {
                        throw new StorageException("disk full");
                    },
                    all -> {});

            assertThatThrownBy(work::awaitWritten)
                    .isInstanceOf(StorageException.class)
                    .hasMessage("disk full");
            assertThatThrownBy(work::awaitDone)
                    .isInstanceOf(StorageException.class)
                    .hasMessage("disk full");
            assertThatThrownBy(work::check).isInstanceOf(StorageException.class).hasMessage("disk full");
        }
    }

    @Test
    void knowsHowLongAllHaveWritten() throws Exception {
        AtomicBoolean before = new AtomicBoolean(true);
        AtomicBoolean after = new AtomicBoolean();
        CountDownLatch told = new CountDownLatch(1);
        try (BackgroundWriter writer = new BackgroundWriter()) {
            BackgroundWriter.Work work = writer.begin(() -> {}, all -> {
                before.set(all.forLongerThan(Duration.ZERO));
                told.await(30, TimeUnit.SECONDS);
                after.set(all.forLongerThan(Duration.ZERO) && !all.forLongerThan(Duration.ofHours(1)));
            });
            work.awaitWritten();
            Thread.sleep(20);
            work.allHaveWritten();
            told.countDown();
            work.awaitDone();
        }
        assertThat(before).isFalse();
        assertThat(after).isTrue();
    }

    @Test
    void whatIsWrittenIsWhatWasThereWhenItWasCopied() throws Exception {
        try (TensorScope scope = TensorScope.open()) {
            Tensor original = torch.arange(new Scalar(10_001.0));
            TensorData data =
                    new TensorData("w", DataType.F32, new long[] {10_001}, out -> TensorBytes.write(original, out));
            byte[] expected = bytes(data);

            TensorSnapshot snapshot = TensorSnapshot.of(List.of(data));
            original.zero_();
            byte[][] written = new byte[1][];
            Thread other = new Thread(() -> {
                try (snapshot) {
                    written[0] = bytes(snapshot.tensors().get(0));
                } catch (IOException e) {
                    throw new AssertionError(e);
                }
            });
            other.start();
            other.join();

            assertThat(written[0]).isEqualTo(expected);
            assertThat(snapshot.tensors().get(0).name()).isEqualTo("w");
        }
    }

    @Test
    void aSnapshotOfBytesThatFillNoFloatKeepsTheirNumber() throws Exception {
        TensorData data = TensorData.of(
                "b", DataType.BF16, new long[] {3}, java.nio.ByteBuffer.wrap(new byte[] {1, 2, 3, 4, 5, 6}));

        try (TensorSnapshot snapshot = TensorSnapshot.of(List.of(data))) {
            assertThat(bytes(snapshot.tensors().get(0))).containsExactly(1, 2, 3, 4, 5, 6);
        }
    }

    private static byte[] bytes(TensorData data) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        data.bytes().writeTo(Channels.newChannel(bytes));
        return bytes.toByteArray();
    }
}
