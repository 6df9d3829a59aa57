package ulysses.runtime.weights;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.util.Base64;
import org.apache.hadoop.security.Credentials;

/**
 * The tokens that secured file systems know a user by, as one line of text without braces: what a task says to its rank
 * process at the start, and when Spark has replaced them. Whoever reads the line can act as the user, so it goes into no log.
 */
public final class FileSystemTokens {

    private FileSystemTokens() {}

    /** Writes all of {@code credentials}. */
    public static String line(Credentials credentials) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        credentials.writeTokenStorageToStream(new DataOutputStream(bytes));
        return Base64.getEncoder().encodeToString(bytes.toByteArray());
    }

    /**
     * Reads what {@link #line} wrote.
     *
     * @throws IOException if it is anything else
     */
    public static Credentials read(String line) throws IOException {
        Credentials credentials = new Credentials();
        try {
            credentials.readTokenStorageStream(new DataInputStream(
                    new ByteArrayInputStream(Base64.getDecoder().decode(line))));
        } catch (IllegalArgumentException e) { // says what it could not decode
            throw new IOException("no line of tokens", e);
        }
        return credentials;
    }
}
