package ulysses.runtime.servers;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hdfs.DFSClient;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.jspecify.annotations.Nullable;

/** A real HDFS in this JVM: a name node and a data node, one for all tests, since it takes seconds to start. */
public final class HdfsServer {
    private static @Nullable HdfsServer shared;

    private final MiniDFSCluster cluster;

    private HdfsServer() throws IOException {
        java.nio.file.Path base = QuickDisk.folder("hdfs");
        Configuration conf = new HdfsConfiguration();
        conf.setInt("dfs.replication", 1);
        conf.set("dfs.client.block.write.replace-datanode-on-failure.policy", "NEVER");
        this.cluster =
                new MiniDFSCluster.Builder(conf, base.toFile()).numDataNodes(1).build();
        cluster.waitActive();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> cluster.shutdown(true), "end of hdfs"));
    }

    /** The one of this JVM; started by the first call. */
    public static synchronized HdfsServer shared() {
        if (shared == null) {
            try {
                shared = new HdfsServer();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
        return shared;
    }

    /** What a client needs to know. */
    public Configuration configuration() {
        return new Configuration(cluster.getConfiguration(0));
    }

    /** The folder {@code name}. */
    public String folder(String name) {
        return cluster.getURI().resolve("/" + name).toString();
    }

    /** Waits until the name node has given the file at {@code path}, which is being written, its first block. */
    public void awaitBlock(String path) throws IOException {
        DFSClient client = cluster.getFileSystem().getClient();
        String inside = new Path(path).toUri().getPath();
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (client.getLocatedBlocks(inside, 0).getLastLocatedBlock() == null) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("no block of " + path + " in 30 s");
            }
            Thread.onSpinWait();
        }
    }

    /** Ends the name node and starts another on the same files; returns when it answers. */
    public void restartNameNode() throws IOException {
        cluster.restartNameNode(true);
    }
}
