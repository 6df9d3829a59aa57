package ulysses.runtime.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.util.List;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.security.Credentials;
import org.apache.hadoop.security.token.Token;
import org.apache.hadoop.security.token.TokenIdentifier;
import org.junit.jupiter.api.Test;

final class FileSystemTokensTest {

    @Test
    void carriesAllTokensInOneLine() throws Exception {
        Credentials credentials = new Credentials();
        byte[] long300 = new byte[300];
        Token<TokenIdentifier> name = new Token<>(
                long300, new byte[] {'\n', '{'}, new Text("HDFS_DELEGATION_TOKEN"), new Text("10.0.0.1:8020"));
        Token<TokenIdentifier> key = new Token<>(new byte[] {1}, new byte[] {2}, new Text("kms-dt"), new Text("kms"));
        credentials.addToken(name.getService(), name);
        credentials.addToken(key.getService(), key);

        String line = FileSystemTokens.line(credentials);

        assertThat(line).hasLineCount(1).doesNotContain("{");
        assertThat(FileSystemTokens.read(line).getAllTokens()).containsExactlyInAnyOrder(name, key);
    }

    @Test
    void refusesOtherLines() {
        for (String line : List.of("", "{}", "abc", "SFRUUw==")) {
            assertThatThrownBy(() -> FileSystemTokens.read(line)).as(line).isInstanceOf(IOException.class);
        }
    }
}
