package ulysses.driver.launch;

import java.io.IOException;
import java.util.Optional;
import java.util.Set;
import org.apache.hadoop.security.Credentials;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.security.token.Token;
import ulysses.runtime.weights.FileSystemTokens;

/**
 * The tokens by which secured file systems know the user that an executor's task works for. They end, after a day or a week, and Spark
 * replaces those of the executor before; a rank process is told of all of them.
 */
final class UserTokens {
    private final UserGroupInformation user;
    private Set<Token<?>> told = Set.of();

    private UserTokens(UserGroupInformation user) {
        this.user = user;
    }

    /** Those of the user that this thread works for. */
    static UserTokens current() throws IOException {
        return new UserTokens(UserGroupInformation.getCurrentUser());
    }

    /** All as a line of {@link FileSystemTokens}, if they are not what they were at the last call; at the first, if there are any. */
    Optional<String> news() throws IOException {
        Credentials now = user.getCredentials();
        Set<Token<?>> tokens = Set.copyOf(now.getAllTokens());
        if (tokens.equals(told)) {
            return Optional.empty();
        }
        told = tokens;
        return Optional.of(FileSystemTokens.line(now));
    }
}
