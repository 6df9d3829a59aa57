package ulysses.driver.dataset;

import java.io.Serializable;
import java.util.List;
import org.apache.hadoop.conf.Configuration;

/** The entries of dataset_info.json. */
public final class DatasetRegistry implements Serializable {
    private static final long serialVersionUID = 1L;

    private final String folder;

    private DatasetRegistry(String folder) {
        this.folder = folder;
    }

    /** Reads {@code dataset_info.json} in a folder on local disk or any Hadoop file system. */
    public static DatasetRegistry open(String folder, Configuration hadoop) {
        return new DatasetRegistry(folder);
    }

    /** Refuses names that are not there and rankings outside preference training. */
    public void requireUsable(List<String> names) {
        if (!names.isEmpty()) {
            throw new IllegalStateException(folder + " is not read yet");
        }
    }
}
