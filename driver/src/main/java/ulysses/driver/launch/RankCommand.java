package ulysses.driver.launch;

import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.net.URISyntaxException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import javax.xml.stream.XMLOutputFactory;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamWriter;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.spark.SparkConf;
import org.jspecify.annotations.Nullable;

/**
 * How a rank process is started: the JVM of this executor once more, with its class path and what Spark added to it since.
 *
 * @param line the command
 * @param environment what the child's environment has on top of this one
 * @param directory where it runs and keeps scratch files; only this user can read it
 */
record RankCommand(List<String> line, Map<String, String> environment, Path directory) {
    /** Folder of jars with native libraries, as {@code spark-submit --archives ulysses-natives.zip#ulysses-natives} unpacks it. */
    static final String NATIVES = "ulysses-natives";

    /** Names another folder of such jars, which lies on every executor: Spark hands on no archive of an image. */
    static final String NATIVES_SETTING = "spark.ulysses.rank.natives";

    private static final String MMAP_THRESHOLD = "MALLOC_MMAP_THRESHOLD_";

    private static final String CACHE_PROPERTY = "org.bytedeco.javacpp.cachedir";

    private static final String USER = "HADOOP_USER_NAME";

    /** Where Kerberos' own configuration lies, if not in /etc. */
    private static final String KERBEROS_PROPERTY = "java.security.krb5.conf";

    private static final String NCCL_FILE = "NCCL_CONF_FILE";

    RankCommand {
        line = List.copyOf(line);
        environment = Map.copyOf(environment);
    }

    /**
     * What differs between runs, hosts and tasks.
     *
     * @param mainClass what the child runs
     * @param label stands on the command line so that {@code ps} tells ranks apart
     * @param directory where the child runs
     * @param threads threads for local math
     * @param device the one GPU the child may see; null on CPU
     * @param hadoop file system settings of the driver
     * @param natives folder with jars of native libraries, if the job's own jar has none
     */
    record Wishes(
            String mainClass,
            String label,
            Path directory,
            int threads,
            @Nullable String device,
            Map<String, String> hadoop,
            @Nullable Path natives) {}

    /** Writes the child's argument and configuration files into its directory. */
    static RankCommand prepare(Wishes wishes, SparkConf conf, ClassLoader loader) throws IOException {
        Path directory = wishes.directory();
        writeHadoopSite(wishes.hadoop(), directory.resolve("core-site.xml"));
        List<String> arguments = new ArrayList<>(
                List.of("-cp", directory + File.pathSeparator + classPath(loader, natives(wishes, conf))));
        arguments.addAll(jvmOptions(conf, loader, directory));
        // An argument file: class paths of real clusters outgrow what the kernel allows for one argument.
        Path file = directory.resolve("rank.args");
        Files.write(file, arguments.stream().map(RankCommand::quoted).toList(), StandardCharsets.UTF_8);
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        return new RankCommand(
                List.of(java, "@" + file, wishes.mainClass(), wishes.label()), environment(wishes), directory);
    }

    private static @Nullable Path natives(Wishes wishes, SparkConf conf) throws IOException {
        if (!conf.contains(NATIVES_SETTING)) {
            return wishes.natives();
        }
        Path folder = Path.of(conf.get(NATIVES_SETTING)).toAbsolutePath();
        if (jars(folder).isEmpty()) {
            throw new LaunchException(
                    FailureKind.CONFIG,
                    ("%s %s: the executor has no such folder, or no jar in it; name the folder that ulysses-natives.zip was"
                                    + " unpacked to, or leave the setting out and give the zip with --archives")
                            .formatted(NATIVES_SETTING, folder));
        }
        return folder;
    }

    /**
     * Class path of this JVM, then the jars that Spark's class loader got later ({@code spark-submit app.jar}, {@code --jars}), then
     * wherever our own classes come from, then the jars of the archive with native libraries, if the job was submitted with it.
     */
    static String classPath(ClassLoader loader, @Nullable Path natives) throws IOException {
        Set<String> entries = new LinkedHashSet<>(); // absolute: the child runs in a directory of its own
        for (String entry : System.getProperty("java.class.path").split(File.pathSeparator, -1)) {
            entries.add(
                    entry.isEmpty() ? entry : Path.of(entry).toAbsolutePath().toString());
        }
        for (ClassLoader next = loader; next != null; next = next.getParent()) {
            if (next instanceof URLClassLoader urls) {
                Arrays.stream(urls.getURLs()).forEach(url -> addFile(url, entries));
            }
        }
        addFile(RankCommand.class.getProtectionDomain().getCodeSource().getLocation(), entries);
        if (natives != null) {
            entries.addAll(jars(natives));
        }
        entries.remove("");
        return String.join(File.pathSeparator, entries);
    }

    /** Tells NCCL of the rank in {@code directory} which interface leads to the others, unless the user did. */
    static void writeInterface(Path directory, String networkInterface) throws IOException {
        if (System.getenv("NCCL_SOCKET_IFNAME") == null) {
            Files.writeString(Path.of(ncclFile(directory)), "NCCL_SOCKET_IFNAME==" + networkInterface + "\n");
        }
    }

    private static String ncclFile(Path directory) {
        return directory.resolve("nccl.conf").toString();
    }

    private static List<String> jars(Path folder) throws IOException {
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(Path::toString)
                    .filter(file -> file.endsWith(".jar"))
                    .sorted()
                    .toList();
        }
    }

    /**
     * The value of CUDA_VISIBLE_DEVICES for a child whose task holds {@code address}: Spark's addresses are indices into the variable
     * when it is already set, as in PySpark's TorchDistributor.
     */
    static String visibleDevice(@Nullable String preset, String address) {
        if (preset == null || preset.isBlank()) {
            return address;
        }
        List<String> devices =
                Arrays.stream(preset.split(",")).map(String::strip).toList();
        try {
            return devices.get(Integer.parseInt(address));
        } catch (NumberFormatException | IndexOutOfBoundsException e) {
            throw new LaunchException(
                    FailureKind.CONFIG,
                    ("the task got GPU %s, but CUDA_VISIBLE_DEVICES of its executor is %s and has no such index; unset it, or"
                                    + " let the discovery script count from 0 within it")
                            .formatted(address, preset),
                    e);
        }
    }

    private static List<String> jvmOptions(SparkConf conf, ClassLoader loader, Path directory) {
        List<String> options = new ArrayList<>(List.of(
                "-Xmx" + conf.get("spark.ulysses.rank.memory", "1g"),
                "-XX:+UseSerialGC", // the heap holds bookkeeping only; a second collector thread would take a core from
                // the math
                "-XX:+ExitOnOutOfMemoryError",
                "-XX:ErrorFile=" + directory.resolve("hs_err_pid%p.log"),
                "-Dfile.encoding=UTF-8",
                "-Djava.io.tmpdir=" + directory,
                "--add-opens=java.base/java.nio=ALL-UNNAMED", // Arrow's memory-mapped buffers
                "-Dlog4j2.configurationFile=classpath:ulysses/driver/launch/rank-log4j2.properties",
                // Tensors are accounted for by scopes; JavaCPP's own limit would count mapped weights against the heap
                // size.
                "-Dorg.bytedeco.javacpp.maxbytes=0",
                "-Dorg.bytedeco.javacpp.maxphysicalbytes=0"));
        if (System.getProperty(KERBEROS_PROPERTY) != null) {
            options.add("-D" + KERBEROS_PROPERTY + "=" + System.getProperty(KERBEROS_PROPERTY));
        }
        nativeCache(directory).ifPresent(cache -> options.add("-D" + CACHE_PROPERTY + "=" + cache));
        if (loader.getResource("org/bytedeco/mkl/global/mkl_rt.class") != null) {
            options.add("-Dorg.bytedeco.openblas.load=mkl");
        }
        String extra = conf.get("spark.ulysses.rank.extraJavaOptions", "").strip();
        if (!extra.isEmpty()) {
            options.addAll(Arrays.asList(extra.split("\\s+")));
        }
        return options;
    }

    /** Where native libraries are unpacked: the executor's choice, the user's home, or next to the ranks' directories. */
    private static Optional<Path> nativeCache(Path directory) {
        String chosen = System.getProperty(CACHE_PROPERTY);
        if (chosen != null) {
            return Optional.of(Path.of(chosen));
        }
        Path home = Path.of(System.getProperty("user.home"));
        Path existing = home.resolve(".javacpp");
        boolean usable = Files.exists(existing) ? Files.isWritable(existing) : Files.isWritable(home);
        return usable ? Optional.empty() : Optional.of(directory.resolveSibling("javacpp"));
    }

    private static Map<String, String> environment(Wishes wishes) throws IOException {
        Map<String, String> environment = new HashMap<>(identity());
        environment.put("OMP_NUM_THREADS", Integer.toString(wishes.threads()));
        environment.put("MKL_NUM_THREADS", Integer.toString(wishes.threads()));
        // Threads that wait for work sleep instead of spinning: an addition took 17 ms spinning on a shared machine,
        // now 0.3.
        environment.put("OMP_WAIT_POLICY", "PASSIVE");
        environment.put("GOMP_SPINCOUNT", "1000");
        environment.put("MKL_THREADING_LAYER", "INTEL"); // the one whose library NativeRuntime loads
        // glibc maps every tensor above 32 MiB anew and the kernel clears it page by page: two operations on 64 MiB
        // took 61 ms, with memory kept by the process 6 to 10. Who needs memory more than time sets it lower.
        environment.put("MALLOC_ARENA_MAX", "1");
        environment.put(MMAP_THRESHOLD, System.getenv().getOrDefault(MMAP_THRESHOLD, "4294967296"));
        environment.put("MALLOC_TRIM_THRESHOLD_", "17179869184");
        environment.put("TORCH_CPP_LOG_LEVEL", "ERROR");
        if (wishes.device() != null) {
            environment.put("CUDA_VISIBLE_DEVICES", wishes.device());
            // The lengths of steps differ: segments that grow leave no holes of the wrong size.
            environment.put("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True");
            // NCCL reads it when the rank opens its groups; the interface is known when the tasks have met.
            environment.put(NCCL_FILE, System.getenv().getOrDefault(NCCL_FILE, ncclFile(wishes.directory())));
        }
        return environment;
    }

    /**
     * Whom file systems know: the user that the executor's task works for, not the one that owns its process. Where Hadoop is secured
     * they know whoever has {@link UserTokens}.
     */
    private static Map<String, String> identity() throws IOException {
        return UserGroupInformation.isSecurityEnabled()
                ? Map.of()
                : Map.of(USER, UserGroupInformation.getCurrentUser().getShortUserName());
    }

    /** The driver's file system settings (such as {@code spark.hadoop.fs.s3a.endpoint}), found first on the child's class path. */
    private static void writeHadoopSite(Map<String, String> settings, Path file) throws IOException {
        try (OutputStream out = Files.newOutputStream(file)) {
            // Hadoop's own writer looks for an XML library in every jar of the class path, each time.
            XMLStreamWriter xml =
                    XMLOutputFactory.newDefaultFactory().createXMLStreamWriter(out, StandardCharsets.UTF_8.name());
            xml.writeStartDocument(StandardCharsets.UTF_8.name(), "1.0");
            xml.writeStartElement("configuration");
            for (Map.Entry<String, String> setting : settings.entrySet()) {
                xml.writeStartElement("property");
                element(xml, "name", setting.getKey());
                element(xml, "value", setting.getValue());
                xml.writeEndElement();
            }
            xml.writeEndElement();
            xml.writeEndDocument();
            xml.close();
        } catch (XMLStreamException e) {
            throw new IOException("can't write " + file + ": " + e.getMessage(), e);
        }
    }

    private static void element(XMLStreamWriter xml, String name, String text) throws XMLStreamException {
        xml.writeStartElement(name);
        xml.writeCharacters(text);
        xml.writeEndElement();
    }

    private static void addFile(@Nullable URL url, Set<String> entries) {
        if (url == null || !"file".equals(url.getProtocol())) {
            return;
        }
        try {
            entries.add(Path.of(url.toURI()).toString());
        } catch (URISyntaxException e) {
            entries.add(url.getPath());
        }
    }

    private static String quoted(String argument) {
        return '"' + argument.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }
}
