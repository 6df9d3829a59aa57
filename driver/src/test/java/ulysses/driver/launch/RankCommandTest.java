package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.File;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.PrivilegedExceptionAction;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.spark.SparkConf;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RankCommandTest {
    @TempDir
    private Path directory;

    @Test
    void addsJarsThatSparksClassLoaderGotLaterBehindTheClassPath() throws Exception {
        Path app = directory.resolve("app with blank.jar");
        try (URLClassLoader added = new URLClassLoader(new URL[] {app.toUri().toURL()}, null);
                URLClassLoader child = new URLClassLoader(new URL[0], added)) {

            List<String> entries = List.of(RankCommand.classPath(child, null).split(File.pathSeparator));

            assertThat(System.getProperty("java.class.path")).startsWith(entries.get(0));
            assertThat(entries).contains(app.toString()).doesNotHaveDuplicates().doesNotContain("");
            assertThat(entries.indexOf(app.toString())).isPositive();
        }
    }

    @Test
    void addsTheJarsOfTheArchiveWithNativeLibraries() throws Exception {
        Path natives = Files.createDirectory(directory.resolve("natives"));
        Path jar = Files.createFile(natives.resolve("libtorch.jar"));
        Files.createFile(natives.resolve("notes.txt"));
        ClassLoader loader = getClass().getClassLoader();

        String with = RankCommand.classPath(loader, natives);

        assertThat(with).isEqualTo(RankCommand.classPath(loader, null) + File.pathSeparator + jar);
        assertThat(RankCommand.classPath(loader, directory.resolve("absent")))
                .isEqualTo(RankCommand.classPath(loader, null));
    }

    @Test
    void takesNativeLibrariesFromTheFolderOfTheSetting() throws Exception {
        Path natives = Files.createDirectory(directory.resolve("of the image"));
        Path jar = Files.createFile(natives.resolve("libtorch.jar"));
        SparkConf conf = new SparkConf(false).set("spark.ulysses.rank.natives", natives.toString());

        RankCommand.prepare(wishes("0"), conf, getClass().getClassLoader());

        assertThat(Files.readAllLines(directory.resolve("rank.args")).get(1)).endsWith(File.pathSeparator + jar + '"');
    }

    @Test
    void refusesASettingThatNamesNoFolderOfJars() throws Exception {
        ClassLoader loader = getClass().getClassLoader();
        Path empty = Files.createDirectory(directory.resolve("empty"));

        for (Path folder : List.of(empty, directory.resolve("absent"))) {
            SparkConf conf = new SparkConf(false).set("spark.ulysses.rank.natives", folder.toString());

            assertThatThrownBy(() -> RankCommand.prepare(wishes("0"), conf, loader))
                    .isInstanceOfSatisfying(
                            LaunchException.class, e -> assertThat(e.kind()).isEqualTo(FailureKind.CONFIG))
                    .hasMessageContaining("spark.ulysses.rank.natives " + folder + ": the executor has no such folder");
        }
    }

    @ParameterizedTest(name = "CUDA_VISIBLE_DEVICES={0}, address {1}")
    @CsvSource({",0,0", ",3,3", "'',1,1", "'4,5',0,4", "'4, 5',1,5", "'GPU-aa,GPU-bb',1,GPU-bb"})
    void readsGpuAddressesAsIndicesIntoAPresetVariable(String preset, String address, String visible) {
        assertThat(RankCommand.visibleDevice(preset, address)).isEqualTo(visible);
    }

    @Test
    void refusesAGpuAddressOutsideOfThePresetVariable() {
        assertThatThrownBy(() -> RankCommand.visibleDevice("4", "1"))
                .isInstanceOf(LaunchException.class)
                .hasMessageContaining("the task got GPU 1, but CUDA_VISIBLE_DEVICES of its executor is 4");
    }

    @Test
    void startsTheSameJavaWithTheUsersMemoryAndOptions() throws Exception {
        SparkConf conf = new SparkConf(false)
                .set("spark.ulysses.rank.memory", "7g")
                .set("spark.ulysses.rank.extraJavaOptions", "-Da=1  -Db=2");

        RankCommand command =
                RankCommand.prepare(wishes("GPU-aa"), conf, getClass().getClassLoader());

        assertThat(command.line())
                .containsExactly(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "@" + directory.resolve("rank.args"),
                        "some.Main",
                        "run/1");
        assertThat(Files.readAllLines(directory.resolve("rank.args")))
                .contains("\"-Xmx7g\"", "\"-Da=1\"", "\"-Db=2\"", "\"-Dorg.bytedeco.javacpp.maxbytes=0\"");
        assertThat(command.environment())
                .containsEntry("OMP_NUM_THREADS", "3")
                .containsEntry("CUDA_VISIBLE_DEVICES", "GPU-aa")
                .containsEntry("NCCL_CONF_FILE", directory.resolve("nccl.conf").toString());
        RankCommand.writeInterface(directory, "eth7");
        assertThat(directory.resolve("nccl.conf")).hasContent("NCCL_SOCKET_IFNAME==eth7");
    }

    @Test
    void handsTheDriversFileSystemSettingsToTheRank() throws Exception {
        Configuration drivers = new Configuration();
        drivers.set("fs.s3a.endpoint", "http://store:9000", "spark.hadoop");
        Map<String, String> settings = BarrierLaunch.siteSettings(drivers);
        RankCommand.Wishes wishes = new RankCommand.Wishes("some.Main", "run/1", directory, 1, null, settings, null);

        RankCommand.prepare(wishes, new SparkConf(false), getClass().getClassLoader());

        try (URLClassLoader classPath =
                new URLClassLoader(new URL[] {directory.toUri().toURL()}, null)) {
            Configuration ranks = new Configuration();
            ranks.addResource(classPath.getResource("core-site.xml"));
            assertThat(ranks.get("fs.s3a.endpoint")).isEqualTo("http://store:9000");
        }
        assertThat(settings).as("defaults stay out").doesNotContainKey("io.file.buffer.size");
    }

    /** An executor's process may belong to the cluster's user; files are to belong to who submitted the job. */
    @Test
    void worksOnFileSystemsAsTheUserOfTheTask() throws Exception {
        RankCommand command = UserGroupInformation.createRemoteUser("alice")
                .doAs((PrivilegedExceptionAction<RankCommand>) () -> RankCommand.prepare(
                        wishes("GPU-aa"), new SparkConf(false), getClass().getClassLoader()));

        assertThat(command.environment()).containsEntry("HADOOP_USER_NAME", "alice");
    }

    @Test
    void handsOnWhereKerberosIsConfigured() throws Exception {
        System.setProperty("java.security.krb5.conf", "/opt/krb5.conf");
        try {
            RankCommand.prepare(
                    wishes("GPU-aa"), new SparkConf(false), getClass().getClassLoader());
        } finally {
            System.clearProperty("java.security.krb5.conf");
        }

        assertThat(Files.readAllLines(directory.resolve("rank.args")))
                .contains("\"-Djava.security.krb5.conf=/opt/krb5.conf\"");
    }

    private RankCommand.Wishes wishes(String device) {
        return new RankCommand.Wishes("some.Main", "run/1", directory, 3, device, Map.of(), null);
    }
}
