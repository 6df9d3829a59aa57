package ulysses.driver.packing;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocatedFileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RemoteIterator;
import ulysses.driver.dataset.DatasetRegistry;

/**
 * The files of some data sets as the file system lists them.
 *
 * @param descriptions path, length and time of each file, in order
 * @param bytes of all files together
 */
record InputFiles(List<String> descriptions, long bytes) {
    InputFiles {
        descriptions = List.copyOf(descriptions);
    }

    /** Lists the files; a missing one is reported by who reads it. */
    static InputFiles of(List<String> datasets, DatasetRegistry registry, Configuration hadoop) throws IOException {
        List<String> descriptions = new ArrayList<>();
        long bytes = 0;
        for (String dataset : datasets) {
            List<LocatedFileStatus> files =
                    list(new Path(registry.entry(dataset).path()), hadoop);
            files.forEach(file ->
                    descriptions.add("%s %d %d".formatted(file.getPath(), file.getLen(), file.getModificationTime())));
            bytes += files.stream().mapToLong(LocatedFileStatus::getLen).sum();
        }
        return new InputFiles(descriptions, bytes);
    }

    private static List<LocatedFileStatus> list(Path path, Configuration hadoop) throws IOException {
        List<LocatedFileStatus> files = new ArrayList<>();
        FileSystem fileSystem = path.getFileSystem(hadoop);
        try {
            RemoteIterator<LocatedFileStatus> found = fileSystem.listFiles(path, true);
            while (found.hasNext()) {
                files.add(found.next());
            }
        } catch (FileNotFoundException e) {
            return List.of();
        }
        files.sort(Comparator.comparing(file -> file.getPath().toString()));
        return files;
    }
}
