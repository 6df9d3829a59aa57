package ulysses.driver.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.driver.hub.ModelHub.Parts;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.WeightsException;

/** Against a server that speaks the hub's paths, {@link StandInHub}. */
final class ModelHubTest {
    private static final String ID = "someone/some-model";
    private static final String INDEX =
            "{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\", \"b\": \"model-00002-of-00002.safetensors\"}}";

    @TempDir
    private Path scratch;

    private StandInHub hub;
    private final Map<String, String> environment = new HashMap<>();
    private final Configuration hadoop = new Configuration(false);

    @BeforeEach
    void start() throws IOException {
        hub = new StandInHub();
        hub.small("config.json", "{}")
                .small("tokenizer.json", "{\"tokens\": 3}")
                .small("README.md", "# a model");
        hub.large("model.safetensors", 3_000_000);
        environment.put("HF_ENDPOINT", hub.endpoint() + "/");
        environment.put("HF_HOME", scratch.resolve("home").toString());
    }

    @AfterEach
    void stop() {
        hub.close();
    }

    private Path cache() {
        return scratch.resolve("home/hub/models--someone--some-model");
    }

    private ModelHub client() {
        return ModelHub.of(environment, null, hadoop, line -> {}, Duration.ofSeconds(5), Duration.ofMillis(1));
    }

    private Path found(Parts parts) throws InterruptedException {
        return Path.of(client().folder("model_name_or_path", ID, "main", parts));
    }

    @Test
    void downloadsAModelIntoTheCacheAsTheHubsOwnClientLaysItOut() throws Exception {
        environment.put("HF_TOKEN", "secret");

        Path folder = found(Parts.MODEL);

        assertThat(folder).isEqualTo(cache().resolve("snapshots/" + StandInHub.COMMIT));
        assertThat(folder.resolve("config.json")).hasContent("{}").isSymbolicLink();
        assertThat(folder.resolve("model.safetensors")).hasBinaryContent(hub.bytes("model.safetensors"));
        assertThat(Files.readSymbolicLink(folder.resolve("model.safetensors")))
                .hasToString("../../blobs/" + hub.etag("model.safetensors"));
        assertThat(cache().resolve("refs/main")).hasContent(StandInHub.COMMIT);
        assertThat(folder.resolve("README.md")).doesNotExist();
        try (var blobs = Files.list(cache().resolve("blobs"))) {
            assertThat(blobs).hasSize(3);
        }
        assertThat(hub.asked("hub")).isNotEmpty().allMatch(request -> request.endsWith(" Bearer secret"));
        assertThat(hub.asked("store")).hasSize(1).allMatch(request -> request.endsWith(" -"));
    }

    /** In a process of its own, since a lock is a process's. */
    static final class Client {
        private Client() {}

        public static void main(String[] arguments) throws InterruptedException {
            Map<String, String> environment = Map.of("HF_ENDPOINT", arguments[0], "HF_HOME", arguments[1]);
            Duration patience = Duration.ofSeconds(20);
            ModelHub client = ModelHub.of(
                    environment, arguments[2], new Configuration(false), line -> {}, patience, Duration.ofMillis(1));
            client.folder("model_name_or_path", ID, "main", Parts.MODEL);
        }
    }

    @ParameterizedTest(name = "in {0}")
    @CsvSource({"home/hub", "elsewhere"})
    @Timeout(60)
    void aProcessThatWaitedForAnotherTakesWhatThatOneBrought(String cache) throws Exception {
        hub.waitingFor(2);

        List<Process> clients = List.of(client(cache), client(cache));

        for (Process client : clients) {
            assertThat(client.waitFor()).isZero();
        }
        assertThat(hub.asked("store")).hasSize(1);
        assertThat(scratch.resolve(cache)
                        .resolve("models--someone--some-model/snapshots")
                        .resolve(StandInHub.COMMIT)
                        .resolve("model.safetensors"))
                .hasBinaryContent(hub.bytes("model.safetensors"));
    }

    private Process client(String cache) throws IOException {
        ProcessBuilder command = new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin/java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Client.class.getName(),
                hub.endpoint(),
                scratch.resolve("home").toString(),
                scratch.resolve(cache).toString());
        return command.redirectErrorStream(true)
                .redirectOutput(scratch.resolve("clients.log").toFile())
                .start();
    }

    @Test
    void asksForNothingThatTheCacheHolds() throws Exception {
        Path first = found(Parts.MODEL);
        hub.close();

        assertThat(found(Parts.MODEL)).isEqualTo(first);
        assertThat(client().folder("ref_model", ID, StandInHub.COMMIT, Parts.MODEL))
                .isEqualTo(first.toString());
        environment.put("HF_HUB_OFFLINE", "1");
        assertThat(found(Parts.MODEL)).isEqualTo(first);
    }

    @Test
    void aFolderIsAFolderAndOtherNamesAreLeftToThoseWhoOpenThem() throws Exception {
        Path here = Files.createDirectories(scratch.resolve("a/b"));

        for (String name : List.of(here.toString(), "/not/there", "name", "hdfs://host/a", "../a", "a/b/c", "./a")) {
            assertThat(client().folder("model_name_or_path", name, "main", Parts.MODEL))
                    .isEqualTo(name);
        }
        assertThat(hub.asked("hub")).isEmpty();
    }

    @Test
    void bringsNoWeightsWhereNoneAreWantedAndAddsThemLater() throws Exception {
        Path folder = found(Parts.MODEL_WITHOUT_WEIGHTS);
        assertThat(folder.resolve("tokenizer.json")).exists();
        assertThat(folder.resolve("model.safetensors")).doesNotExist();

        found(Parts.MODEL);

        assertThat(folder.resolve("model.safetensors")).exists();
    }

    @Test
    void bringsAllFilesOfAnIndex() throws Exception {
        hub.remove("model.safetensors").small("model.safetensors.index.json", INDEX);
        hub.large("model-00001-of-00002.safetensors", 10).large("model-00002-of-00002.safetensors", 20);
        hub.large("pytorch_model.bin", 30);

        Path folder = found(Parts.MODEL);

        assertThat(folder.resolve("model-00002-of-00002.safetensors")).hasSize(20);
        assertThat(folder.resolve("pytorch_model.bin")).doesNotExist();
        Files.delete(folder.resolve("model-00001-of-00002.safetensors"));
        found(Parts.MODEL);
        assertThat(folder.resolve("model-00001-of-00002.safetensors")).hasSize(10);
    }

    @Test
    void anIndexMayNotNameFilesElsewhere() throws Exception {
        hub.remove("model.safetensors").small("model.safetensors.index.json", "{\"weight_map\": {\"a\": \"../../x\"}}");

        assertThatThrownBy(() -> found(Parts.MODEL))
                .isInstanceOf(WeightsException.class)
                .hasMessageContaining("names the file '../../x' for a; only files inside the folder are read");
    }

    @Test
    void bringsAdaptersAndPickledWeights() throws Exception {
        hub.remove("model.safetensors").remove("config.json").small("adapter_config.json", "{}");
        hub.large("adapter_model.bin", 40);

        Path folder = found(Parts.ADAPTER);

        assertThat(folder.resolve("adapter_model.bin")).hasSize(40);
        assertThat(folder.resolve("tokenizer.json")).doesNotExist();
    }

    @Test
    void goesOnWhereTheConnectionWasCut() throws Exception {
        hub.cutAfter(1_000_000, 2);

        Path folder = found(Parts.MODEL);

        assertThat(folder.resolve("model.safetensors")).hasBinaryContent(hub.bytes("model.safetensors"));
        List<String> ranges = hub.asked("store");
        assertThat(ranges).hasSize(3);
        assertThat(ranges.get(1)).contains("bytes=1000000-");
        assertThat(ranges.get(2)).contains("bytes=2000000-");
    }

    @Test
    void goesOnWithWhatAnEarlierStartLeft() throws Exception {
        Path staged = cache().resolve("blobs").resolve(hub.etag("model.safetensors") + ".incomplete");
        Files.createDirectories(staged.getParent());
        Files.write(staged, java.util.Arrays.copyOf(hub.bytes("model.safetensors"), 2_999_999));

        Path folder = found(Parts.MODEL);

        assertThat(folder.resolve("model.safetensors")).hasBinaryContent(hub.bytes("model.safetensors"));
        assertThat(hub.asked("store")).singleElement().asString().contains("bytes=2999999-");
        assertThat(staged).doesNotExist();
    }

    @Test
    void startsAnewWhereTheStoreKnowsNoRanges() throws Exception {
        hub.withoutRanges().cutAfter(1_000_000, 1);

        assertThat(found(Parts.MODEL).resolve("model.safetensors")).hasBinaryContent(hub.bytes("model.safetensors"));
    }

    @ParameterizedTest
    @CsvSource({"model.safetensors", "tokenizer.json"})
    void refusesOtherBytesThanTheHubSays(String name) {
        hub.damage(name, Integer.MAX_VALUE);

        assertThatThrownBy(() -> found(Parts.MODEL))
                .isInstanceOf(StorageException.class)
                .hasMessage(
                        "someone/some-model %s: what %s sends is not what it says (checksum %s), twice; set HF_ENDPOINT to another mirror",
                        name, hub.endpoint(), hub.etag(name));
        assertThat(cache().resolve("snapshots/" + StandInHub.COMMIT + "/" + name))
                .doesNotExist();
        assertThat(cache().resolve("refs/main")).doesNotExist();
    }

    @Test
    void bytesThatWereDamagedOnceAreFetchedAgain() throws Exception {
        hub.damage("model.safetensors", 1);

        assertThat(found(Parts.MODEL).resolve("model.safetensors")).hasBinaryContent(hub.bytes("model.safetensors"));
    }

    @Test
    void aBusyHubIsAskedAgainAndADeadOneIsNamed() throws Exception {
        hub.busy(3);
        assertThat(found(Parts.MODEL_WITHOUT_WEIGHTS)).exists();

        hub.busy(Integer.MAX_VALUE);
        assertThatThrownBy(() -> client().folder("model_name_or_path", "someone/other", "main", Parts.MODEL))
                .isInstanceOf(StorageException.class)
                .hasMessage(
                        "someone/other can't be downloaded from %s: %s answers 503; try again (what is there already stays), or set HF_ENDPOINT to a mirror",
                        hub.endpoint(), URI.create(hub.endpoint()).getAuthority());
    }

    @Test
    void whatIsThereIsTakenWhenTheHubCanNotBeAskedForTheRest() throws Exception {
        hub.remove("tokenizer.json");
        Path folder = found(Parts.MODEL);
        hub.busy(Integer.MAX_VALUE);

        assertThat(found(Parts.MODEL)).isEqualTo(folder);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "401 | RepoNotFound | - | there is no such model, or it is private: check the name, and set HF_TOKEN if it needs one",
                "401 | RepoNotFound | secret | there is no such model, or HF_TOKEN does not open it: check both",
                "403 | GatedRepo | secret | its owner wants terms accepted on its page at the hub; do that, and set HF_TOKEN to a token of that account",
                "404 | RevisionNotFound | - | there is no such model_revision",
                "404 | RepoNotFound | - | check the name"
            })
    void saysWhyTheHubRefuses(int code, String reason, String token, String fix) {
        hub.refuse(code, reason);
        environment.put("HF_TOKEN", token.equals("-") ? "" : token);

        assertThatThrownBy(() -> found(Parts.MODEL))
                .isInstanceOf(WeightsException.class)
                .hasMessage(
                        "model_name_or_path someone/some-model is no folder here, and %s has no someone/some-model (revision main) for us (%d): %s",
                        hub.endpoint(), code, fix)
                .hasMessageNotContaining("secret");
    }

    @Test
    void offlineNothingIsAsked() {
        environment.put("HF_HUB_OFFLINE", "1");

        assertThatThrownBy(() -> found(Parts.MODEL))
                .hasMessage(
                        "model_name_or_path someone/some-model is no folder, %s does not hold it, and HF_HUB_OFFLINE forbids to download it; name a folder, or allow it",
                        scratch.resolve("home/hub"));
        assertThat(hub.asked("hub")).isEmpty();
    }

    @Test
    void followsARenamedModelAndBranches() throws Exception {
        hub.renamedFrom("old-name");

        Path folder = Path.of(client().folder("model_name_or_path", "someone/old-name", "refs/pr/1", Parts.MODEL));

        assertThat(folder.resolve("config.json")).hasContent("{}");
        assertThat(folder.resolve("model.safetensors")).hasSize(3_000_000);
        assertThat(scratch.resolve("home/hub/models--someone--old-name/refs/refs/pr/1"))
                .hasContent(StandInHub.COMMIT);
        assertThat(hub.asked("hub").get(0)).contains("/revision/refs%2Fpr%2F1");
    }

    @Test
    void theTokenOfALoginIsUsed() throws Exception {
        Files.createDirectories(scratch.resolve("home"));
        Files.writeString(scratch.resolve("home/token"), "from-file\n", StandardCharsets.UTF_8);

        found(Parts.MODEL_WITHOUT_WEIGHTS);

        assertThat(hub.asked("hub")).isNotEmpty().allMatch(request -> request.endsWith(" Bearer from-file"));
    }

    @Test
    void theCacheMayLieOnAnyFileSystem() throws Exception {
        hadoop.set("fs.elsewhere.impl", Elsewhere.class.getName());
        List<String> log = new ArrayList<>();
        String cache = "elsewhere://" + scratch.resolve("shared");

        String folder = ModelHub.of(environment, cache, hadoop, log::add, Duration.ofSeconds(5), Duration.ofMillis(1))
                .folder("model_name_or_path", ID, "main", Parts.MODEL);

        assertThat(folder).startsWith("elsewhere:").endsWith("/snapshots/" + StandInHub.COMMIT);
        Path copy = scratch.resolve("shared/models--someone--some-model/snapshots/" + StandInHub.COMMIT);
        assertThat(copy.resolve("model.safetensors")).hasBinaryContent(hub.bytes("model.safetensors"));
        assertThat(cache().resolve("blobs")).isEmptyDirectory();
        int requests = hub.asked("hub").size();
        assertThat(ModelHub.of(environment, cache, hadoop, log::add).folder("ref_model", ID, "main", Parts.MODEL))
                .isEqualTo(folder);
        assertThat(hub.asked("hub")).hasSize(requests);
    }

    /** Local disk under another name: only what Hadoop's interface offers. */
    public static final class Elsewhere extends RawLocalFileSystem {
        @Override
        public URI getUri() {
            return URI.create("elsewhere:///");
        }

        @Override
        public String getScheme() {
            return "elsewhere";
        }
    }
}
