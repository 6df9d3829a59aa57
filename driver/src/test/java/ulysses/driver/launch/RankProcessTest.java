package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.PrivilegedExceptionAction;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.security.token.Token;
import org.apache.hadoop.security.token.TokenIdentifier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.FileSystemTokens;

final class RankProcessTest {

    /** Longer than a reader is waited for when a rank has ended with a code. */
    private static final int LATE_MILLIS = 3_000;

    @TempDir
    private Path directory;

    @Test
    void aLastWordThatIsReadLateCounts() throws Exception {
        String words =
                JsonLines.write(new RankEvent.Phase(0, "step", 1)) + "\n" + JsonLines.write(new RankEvent.Done(0, 1));
        RankCommand command = new RankCommand(List.of("printf", "%s\n", words), Map.of(), directory);

        try (RankProcess rank =
                RankProcess.start(command, RankStarter.PROCESS, "rank", RankProcessTest::readSlowly, nowhere())) {
            assertThat(rank.await(() -> false)).isTrue();
        }
    }

    @Test
    void aRankThatSaysNothingIsNotDone() throws Exception {
        RankCommand command = new RankCommand(List.of("true"), Map.of(), directory);

        try (RankProcess rank =
                RankProcess.start(command, RankStarter.PROCESS, "rank", RankProcessTest::readSlowly, nowhere())) {
            assertThat(rank.await(() -> false)).isFalse();
            assertThat(rank.failure(0, "host").reason()).contains("without saying that it was done");
        }
    }

    /** A rank that outlives its tokens has lost its files. */
    @Test
    void tellsTheUsersTokensAndThoseThatReplaceThem() throws Exception {
        UserGroupInformation alice = UserGroupInformation.createRemoteUser("alice");
        alice.addToken(token("first"));
        RankCommand command = new RankCommand(
                List.of("sh", "-c", "read a; echo told: $a; read b; echo told: $b"), Map.of(), directory);
        ByteArrayOutputStream log = new ByteArrayOutputStream();
        BooleanSupplier replacing = () -> {
            if (log.toString(StandardCharsets.UTF_8).contains("told: ")) {
                alice.addToken(token("second"));
            }
            return false;
        };

        alice.doAs((PrivilegedExceptionAction<Boolean>) () -> {
            PrintStream print = new PrintStream(log, true, StandardCharsets.UTF_8);
            try (RankProcess rank =
                    RankProcess.start(command, RankStarter.PROCESS, "rank", RankProcessTest::readSlowly, print)) {
                return rank.await(replacing);
            }
        });

        List<String> told = log.toString(StandardCharsets.UTF_8)
                .lines()
                .filter(line -> line.startsWith("[rank] told: "))
                .map(line -> line.substring("[rank] told: ".length()))
                .toList();
        assertThat(told).hasSize(2);
        assertThat(FileSystemTokens.read(told.get(0)).getAllTokens()).containsExactly(token("first"));
        assertThat(FileSystemTokens.read(told.get(1)).getAllTokens()).containsExactly(token("second"));
    }

    private static Token<TokenIdentifier> token(String identifier) {
        byte[] bytes = identifier.getBytes(StandardCharsets.UTF_8);
        return new Token<>(bytes, bytes, new Text("HDFS_DELEGATION_TOKEN"), new Text("127.0.0.1:8020"));
    }

    private static void readSlowly(RankEvent event) {
        try {
            Thread.sleep(event instanceof RankEvent.Phase ? LATE_MILLIS : 0);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static PrintStream nowhere() {
        return new PrintStream(OutputStream.nullOutputStream());
    }
}
