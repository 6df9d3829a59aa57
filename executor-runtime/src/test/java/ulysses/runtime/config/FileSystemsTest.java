package ulysses.runtime.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.io.IOException;
import java.nio.file.Files;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.util.VersionInfo;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileSystemsTest {
    private final Configuration hadoop = new Configuration(false);

    @Test
    void saysWhichJarsAreMissing(@TempDir java.nio.file.Path folder) throws IOException {
        hadoop.set("fs.s3a.impl", "org.apache.hadoop.fs.s3a.S3AFileSystemOfAnotherJar");
        String yaml = Files.writeString(folder.resolve("run.yaml"), """
                        model_name_or_path: s3a://models/llama
                        finetuning_type: full
                        dataset: identity
                        output_dir: out
                        """).toString();

        ConfigException refusal = catchThrowableOfType(
                ConfigException.class, () -> ConfigFile.load(ConfigFile.Sources.ofFile(yaml), hadoop));

        assertThat(refusal.problems())
                .isEqualTo(List.of(
                        "Class org.apache.hadoop.fs.s3a.S3AFileSystemOfAnotherJar not found; its jars are not on Spark's class path: add them (for s3a: --packages org.apache.hadoop:hadoop-aws:%s), or put them into Spark's jars folder"
                                .formatted(VersionInfo.getVersion())));
    }

    @Test
    void namesHadoopsSchemeOfS3() {
        ConfigException refusal = catchThrowableOfType(
                ConfigException.class, () -> FileSystems.of(new Path("s3://models/llama"), hadoop));

        assertThat(refusal).hasMessageContaining("s3://models/llama").hasMessageContaining("write s3a in place of s3");
    }

    @Test
    void leavesOtherSchemesToHadoop() {
        assertThatThrownBy(() -> FileSystems.of(new Path("nowhere://models"), hadoop))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("nowhere");
    }
}
