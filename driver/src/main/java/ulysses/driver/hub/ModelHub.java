package ulysses.driver.hub;

import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TuningConfig;
import ulysses.runtime.weights.AdapterDirectory;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.HubCacheFolder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.WeightIndex;
import ulysses.runtime.weights.WeightsException;

/**
 * Turns the ids of models and adapters at the Hugging Face hub into folders: those of its cache when they are there, else they are
 * downloaded into it. The cache has the layout of huggingface_hub ({@code models--ORG--NAME/snapshots/COMMIT}, {@code refs}, {@code
 * blobs}), so that both find what the other downloaded; on file systems without links the files lie in the snapshot itself. Only the
 * driver asks: every host then reads the folder, so on a cluster the cache must be one that all hosts see.
 */
public final class ModelHub {
    private static final Pattern ID = Pattern.compile("[\\w][\\w.-]*/[\\w][\\w.-]*");
    private static final Duration PATIENCE = Duration.ofSeconds(60);
    private static final Duration PAUSE = Duration.ofSeconds(1);
    private static final String PUBLIC = "https://huggingface.co";
    private static final Set<String> YES = Set.of("1", "ON", "YES", "TRUE");

    private final HubDownload download;
    private final Path localCache;
    private final String cache;
    private final boolean offline;
    private final Configuration hadoop;

    private ModelHub(HubDownload download, Path localCache, String cache, boolean offline, Configuration hadoop) {
        this.download = download;
        this.localCache = localCache;
        this.cache = cache;
        this.offline = offline;
        this.hadoop = hadoop;
    }

    /** What is wanted of a model. */
    public enum Parts {
        MODEL,
        MODEL_WITHOUT_WEIGHTS,
        ADAPTER
    }

    /**
     * The hub that {@code environment} names: {@code HF_ENDPOINT}, {@code HF_TOKEN} (or the token that huggingface-cli login left),
     * {@code HF_HUB_OFFLINE}, and the cache in {@code HF_HUB_CACHE} or {@code HF_HOME}. It is not asked yet.
     *
     * @param cacheDirectory {@code cache_dir}: on any Hadoop file system; null means the cache of the environment
     * @param log takes a line for each file that is downloaded
     */
    public static ModelHub of(
            Map<String, String> environment,
            @Nullable String cacheDirectory,
            Configuration hadoop,
            Consumer<String> log) {
        return of(environment, cacheDirectory, hadoop, log, PATIENCE, PAUSE);
    }

    /** With other waits than a user's. */
    static ModelHub of(
            Map<String, String> environment,
            @Nullable String cacheDirectory,
            Configuration hadoop,
            Consumer<String> log,
            Duration patience,
            Duration pause) {
        Path home = home(environment);
        Path hub = Path.of(environment.getOrDefault(
                        "HF_HUB_CACHE", home.resolve("hub").toString()))
                .toAbsolutePath();
        HubSite site = new HubSite(
                environment.getOrDefault("HF_ENDPOINT", PUBLIC).replaceAll("/+$", ""),
                token(environment, home),
                patience);
        return new ModelHub(
                new HubDownload(site, pause, log),
                hub,
                cacheDirectory == null ? hub.toString() : cacheDirectory,
                YES.contains(environment.getOrDefault("HF_HUB_OFFLINE", "").toUpperCase(Locale.ROOT)),
                hadoop);
    }

    private static Path home(Map<String, String> environment) {
        String users = environment.getOrDefault("HOME", System.getProperty("user.home"));
        String caches = environment.getOrDefault("XDG_CACHE_HOME", users + "/.cache");
        return Path.of(environment.getOrDefault("HF_HOME", caches + "/huggingface"));
    }

    private static Optional<String> token(Map<String, String> environment, Path home) {
        String given = environment.getOrDefault("HF_TOKEN", "").strip();
        if (!given.isEmpty()) {
            return Optional.of(given);
        }
        Path file = Path.of(
                environment.getOrDefault("HF_TOKEN_PATH", home.resolve("token").toString()));
        try {
            return Files.isRegularFile(file)
                    ? Optional.of(Files.readString(file).strip()).filter(text -> !text.isEmpty())
                    : Optional.empty();
        } catch (IOException e) {
            throw new StorageException("the token in %s can't be read: %s".formatted(file, e.getMessage()), e);
        }
    }

    /** {@code config} with a folder in place of every id: of the model, of adapters and of the reference. */
    public TrainingConfig resolved(TrainingConfig config, Parts parts) throws InterruptedException {
        String revision = config.model().revision();
        Parts wanted = config.model().trainFromScratch() ? Parts.MODEL_WITHOUT_WEIGHTS : parts;
        String model = folder("model_name_or_path", config.model().modelNameOrPath(), revision, wanted);
        TrainingConfig result = config.withModel(config.model().at(model));
        if (config.tuning() instanceof TuningConfig.Lora lora) {
            List<String> adapters = new ArrayList<>();
            for (String adapter : lora.adapters()) {
                adapters.add(folder("adapter_name_or_path", adapter, revision, Parts.ADAPTER));
            }
            result = result.withTuning(lora.withAdapters(adapters));
        }
        if (config.preference() != null && config.preference().refModel() != null) {
            String reference = folder("ref_model", config.preference().refModel(), revision, parts);
            result = result.withPreference(config.preference().withRefModel(reference));
        }
        return result;
    }

    /**
     * The folder that {@code nameOrPath} means: itself unless it is the id of a model, {@code ORG/NAME}, and no folder.
     *
     * @param key the setting that names it
     * @param revision {@code model_revision}: branch, tag or commit
     * @throws WeightsException when the hub does not have it, or not for us
     * @throws StorageException when the hub can't be reached and the cache does not hold it
     */
    public String folder(String key, String nameOrPath, String revision, Parts parts) throws InterruptedException {
        if (!ID.matcher(nameOrPath).matches() || Folder.at(nameOrPath, hadoop).exists()) {
            return nameOrPath;
        }
        Folder repository = Folder.at(cache + "/" + HubCacheFolder.of(nameOrPath), hadoop);
        Optional<Folder> cached = cached(repository, revision);
        if (cached.isPresent() && isWhole(cached.get(), parts)) {
            return cached.get().path();
        }
        if (offline) {
            throw new WeightsException(
                    "%s %s is no folder, %s does not hold it%s, and HF_HUB_OFFLINE forbids to download it; name a folder, or allow it"
                            .formatted(key, nameOrPath, cache, cached.isPresent() ? " whole" : ""));
        }
        try {
            return downloadedByOne(nameOrPath, revision, repository, parts).path();
        } catch (StorageException unreachable) {
            if (cached.isPresent() && holds(cached.get(), parts)) {
                return cached.get().path();
            }
            throw unreachable;
        } catch (WeightsException refused) {
            throw new WeightsException(
                    "%s %s is no folder here, and %s".formatted(key, nameOrPath, refused.getMessage()), refused);
        }
    }

    private static Optional<Folder> cached(Folder repository, String revision) {
        return commit(repository, revision).map(commit -> repository.folder("snapshots/" + commit));
    }

    private static boolean isWhole(Folder snapshot, Parts parts) {
        return holds(snapshot, parts) && hasTokenizer(snapshot, parts);
    }

    /** One process at a time downloads a model; those that waited for it find what it brought. */
    private Folder downloadedByOne(String id, String revision, Folder repository, Parts parts)
            throws InterruptedException {
        Path locks = localCache.resolve(".locks");
        try {
            Files.createDirectories(locks);
            try (FileChannel lock = FileChannel.open(locks.resolve(HubCacheFolder.of(id) + ".lock"), CREATE, WRITE)) {
                lock.lock(); // released with the channel
                Optional<Folder> brought = cached(repository, revision).filter(found -> isWhole(found, parts));
                return brought.isPresent() ? brought.get() : downloaded(id, revision, repository, parts);
            }
        } catch (IOException e) {
            throw unkept(id, e);
        }
    }

    private static Optional<String> commit(Folder repository, String revision) {
        if (revision.matches("[0-9a-f]{40}")) {
            return Optional.of(revision);
        }
        String ref = "refs/" + revision;
        return repository.has(ref)
                ? Optional.of(repository.readText(ref).strip()).filter(text -> text.matches("[0-9a-f]{40}"))
                : Optional.empty();
    }

    private static boolean holds(Folder snapshot, Parts parts) {
        return switch (parts) {
            case ADAPTER -> snapshot.has(AdapterDirectory.CONFIG) && AdapterDirectory.hasWeights(snapshot);
            case MODEL_WITHOUT_WEIGHTS -> snapshot.has(ModelDirectory.CONFIG);
            case MODEL -> {
                List<String> weights = WeightIndex.fileNames(snapshot);
                yield snapshot.has(ModelDirectory.CONFIG)
                        && !weights.isEmpty()
                        && weights.stream().allMatch(snapshot::has);
            }
        };
    }

    /** A cache that other programs filled may hold a model without its tokenizer. */
    private static boolean hasTokenizer(Folder snapshot, Parts parts) {
        return parts == Parts.ADAPTER || snapshot.has(ModelDirectory.TOKENIZER);
    }

    private Folder downloaded(String id, String revision, Folder repository, Parts parts) throws InterruptedException {
        HubSite.Listing listing = download.listing(id, revision);
        Folder snapshot = repository.folder("snapshots/" + listing.commit());
        for (String name : small(listing.files(), parts)) {
            bring(new HubDownload.Wanted(id, listing.commit(), name), repository, snapshot);
        }
        for (String name : large(listing.files(), snapshot, parts)) {
            bring(new HubDownload.Wanted(id, listing.commit(), name), repository, snapshot);
        }
        if (!revision.equals(listing.commit())) { // last: a name for what is complete
            repository.write("refs/" + revision, listing.commit().getBytes(StandardCharsets.US_ASCII));
        }
        return snapshot;
    }

    /** The files that are wanted besides weights; of weights in several files the index, which names them. */
    private static List<String> small(List<String> offered, Parts parts) {
        Stream<String> wanted = parts == Parts.ADAPTER
                ? Stream.of(AdapterDirectory.CONFIG, AdapterDirectory.MERGED)
                : Stream.concat(Stream.of(ModelDirectory.CONFIG), ModelDirectory.COMPANIONS.stream());
        Stream<String> index = parts == Parts.MODEL
                ? WeightIndex.firstOf(offered::contains).stream().filter(name -> name.endsWith(".json"))
                : Stream.empty();
        return Stream.concat(wanted, index).filter(offered::contains).toList();
    }

    private static List<String> large(List<String> offered, Folder snapshot, Parts parts) {
        return switch (parts) {
            case MODEL_WITHOUT_WEIGHTS -> List.of();
            case ADAPTER ->
                AdapterDirectory.WEIGHT_FILES.stream()
                        .filter(offered::contains)
                        .limit(1)
                        .toList();
            case MODEL -> {
                Optional<String> first = WeightIndex.firstOf(offered::contains);
                yield first.isPresent() && first.get().endsWith(".json")
                        ? WeightIndex.fileNames(snapshot)
                        : first.stream().toList();
            }
        };
    }

    private void bring(HubDownload.Wanted wanted, Folder repository, Folder snapshot) throws InterruptedException {
        if (snapshot.has(wanted.name())) {
            return;
        }
        try {
            String etag = download.etag(wanted).replaceAll("[^\\w.-]", "_");
            Path blob = localCache
                    .resolve(HubCacheFolder.of(wanted.id()))
                    .resolve("blobs")
                    .resolve(etag);
            if (!Files.isRegularFile(blob)) {
                Path staged = blob.resolveSibling(etag + ".incomplete");
                download.complete(wanted, staged);
                Files.move(staged, blob, StandardCopyOption.ATOMIC_MOVE);
            }
            place(blob, wanted.name(), repository, snapshot);
        } catch (IOException e) {
            throw unkept(wanted.toString(), e);
        }
    }

    private StorageException unkept(String what, IOException e) {
        return new StorageException(
                "%s can't be kept in %s: %s; check the free space and the permissions, or set cache_dir to another folder"
                        .formatted(what, cache, e.getMessage()),
                e);
    }

    /** Links a blob into the snapshot, or copies it where the cache is not on local disk. */
    private void place(Path blob, String name, Folder repository, Folder snapshot) throws IOException {
        Path linked = Path.of(snapshot.path()).resolve(name);
        if (Path.of(repository.path()).resolve("blobs").equals(blob.getParent())) {
            Path folder = Objects.requireNonNull(linked.getParent()); // a file of a folder
            Files.createDirectories(folder);
            Path unfinished = folder.resolve("." + blob.getFileName() + ".unfinished");
            Files.deleteIfExists(unfinished);
            Files.createSymbolicLink(unfinished, folder.relativize(blob));
            Files.move(unfinished, linked, StandardCopyOption.ATOMIC_MOVE);
        } else {
            snapshot.write(name, out -> Files.copy(blob, Channels.newOutputStream(out)));
            Files.delete(blob);
        }
    }
}
