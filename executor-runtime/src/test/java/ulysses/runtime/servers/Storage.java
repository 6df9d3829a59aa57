package ulysses.runtime.servers;

import java.nio.file.Path;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.weights.Folder;

/** The three kinds of file system that a run may live on, each a real one. */
public enum Storage {
    LOCAL,
    HDFS,
    S3;

    /** Where this kind of file system is. */
    public Configuration configuration() {
        return switch (this) {
            case LOCAL -> new Configuration(false);
            case HDFS -> HdfsServer.shared().configuration();
            case S3 -> S3Server.shared().configuration();
        };
    }

    /** A path that nothing is at; {@code local} is where local ones are. */
    public String path(Path local) {
        String name = "test-" + UUID.randomUUID();
        return switch (this) {
            case LOCAL -> local.resolve(name).toString();
            case HDFS -> HdfsServer.shared().folder(name);
            case S3 -> S3Server.folder(name);
        };
    }

    /** A folder that is not there yet. */
    public Folder folder(Path local) {
        return Folder.at(path(local), configuration());
    }
}
