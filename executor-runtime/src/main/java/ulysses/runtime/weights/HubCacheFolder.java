package ulysses.runtime.weights;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** How a model of the Hugging Face hub is called in its cache: {@code models--ORG--NAME/snapshots/COMMIT}. */
public final class HubCacheFolder {
    private static final Pattern SNAPSHOT =
            Pattern.compile("(?:.*/)?models--(?<org>[\\w.-]+?)--(?<name>[\\w.-]+)/snapshots/[0-9a-f]{40}/?");

    private HubCacheFolder() {}

    /** The folder of the model {@code id}, {@code ORG/NAME}, in a cache. */
    public static String of(String id) {
        return "models--" + id.replace("/", "--");
    }

    /** The id of the model whose snapshot {@code path} is; any other path as it is. */
    public static String idOf(String path) {
        Matcher matcher = SNAPSHOT.matcher(path);
        return matcher.matches() ? matcher.group("org") + "/" + matcher.group("name") : path;
    }
}
