package ulysses.driver.dataset;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import ulysses.runtime.data.DataException;

/**
 * One file of a dataset.
 *
 * @param path a Hadoop path
 * @param type what it holds
 * @param length bytes
 */
record SourceFile(String path, FileType type, long length) implements Serializable {

    /** The file of an entry, or all files of its folder by name; they have to be of one type. */
    static List<SourceFile> of(DatasetEntry entry, Configuration hadoop) {
        Path path = new Path(entry.path());
        try {
            FileSystem files = path.getFileSystem(hadoop);
            FileStatus status = files.getFileStatus(path);
            List<SourceFile> found = new ArrayList<>();
            for (FileStatus file : status.isDirectory() ? listed(files, path) : List.of(status)) {
                found.add(of(entry, file));
            }
            if (found.isEmpty()) {
                throw new DataException("dataset %s: folder %s holds no files".formatted(entry.name(), path));
            }
            if (found.stream().map(SourceFile::type).distinct().count() > 1) {
                throw new DataException(
                        "dataset %s: folder %s mixes types of files (%s and %s); keep one type in a folder"
                                .formatted(
                                        entry.name(),
                                        path,
                                        found.get(0).path(),
                                        found.stream()
                                                .filter(file -> file.type()
                                                        != found.get(0).type())
                                                .findFirst()
                                                .orElseThrow()
                                                .path()));
            }
            return found;
        } catch (FileNotFoundException missing) {
            throw new DataException(
                    "dataset %s: file %s is not there; correct file_name in dataset_info.json, or dataset_dir"
                            .formatted(entry.name(), path),
                    missing);
        } catch (IOException failure) {
            throw new DataException(
                    "dataset %s: %s can't be read: %s".formatted(entry.name(), path, failure.getMessage()), failure);
        }
    }

    private static SourceFile of(DatasetEntry entry, FileStatus file) {
        FileType type = FileType.of(file.getPath().getName())
                .orElseThrow(() -> new DataException(
                        "dataset %s: %s has no known ending; use .json, .jsonl, .csv, .parquet, .arrow or .txt"
                                .formatted(entry.name(), file.getPath())));
        return new SourceFile(file.getPath().toString(), type, file.getLen());
    }

    /** Files in the order of their names, without those that programs leave behind (_SUCCESS, .part.crc). */
    private static List<FileStatus> listed(FileSystem files, Path folder) throws IOException {
        List<FileStatus> found = new ArrayList<>();
        for (FileStatus file : files.listStatus(folder)) {
            String name = file.getPath().getName();
            if (file.isFile() && !name.startsWith("_") && !name.startsWith(".")) {
                found.add(file);
            }
        }
        found.sort(Comparator.comparing(file -> file.getPath().getName()));
        return found;
    }
}
