package ulysses.runtime.config;

import java.io.IOException;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.util.VersionInfo;

/** The Hadoop file system of a path, or one sentence on what it needs. */
public final class FileSystems {
    private FileSystems() {}

    /**
     * Opens it.
     *
     * @throws IOException if it is not there or no file system has the path's scheme
     * @throws ConfigException if its classes are not on the class path, or S3's own scheme is named, which Hadoop has not
     */
    public static FileSystem of(Path path, Configuration hadoop) throws IOException {
        try {
            return path.getFileSystem(hadoop);
        } catch (IOException unknown) {
            if ("s3".equals(path.toUri().getScheme())) {
                throw refusal(path, "Hadoop reads S3 as s3a://; write s3a in place of s3");
            }
            throw unknown;
        } catch (RuntimeException failure) { // of Configuration.getClass
            if (failure.getCause() instanceof ClassNotFoundException missing) {
                throw refusal(
                        path,
                        "%s; its jars are not on Spark's class path: add them (for s3a: --packages org.apache.hadoop:hadoop-aws:%s), or put them into Spark's jars folder"
                                .formatted(missing.getMessage(), VersionInfo.getVersion()));
            }
            throw failure;
        }
    }

    private static ConfigException refusal(Path path, String problem) {
        return new ConfigException(path.toString(), List.of(problem));
    }
}
