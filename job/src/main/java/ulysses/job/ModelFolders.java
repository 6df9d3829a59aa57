package ulysses.job;

import java.io.PrintStream;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import ulysses.driver.hub.ModelHub;
import ulysses.runtime.config.TrainingConfig;

/**
 * Finds the models and adapters of a run that are named by their ids at the hub; here, since the hub's settings are environment
 * variables. Says where they are.
 */
record ModelFolders(Map<String, String> environment, Configuration hadoop, PrintStream out) {

    /** {@code config} with folders instead of ids. */
    TrainingConfig in(TrainingConfig config, ModelHub.Parts parts) throws InterruptedException {
        TrainingConfig found = hub(config.model().cacheDirectory()).resolved(config, parts);
        String folder = found.model().modelNameOrPath();
        if (!folder.equals(config.model().modelNameOrPath())) {
            out.println("hub: %s is in %s".formatted(config.model().modelNameOrPath(), folder));
        }
        return found;
    }

    /** The hub, with {@code cache_dir}. */
    ModelHub hub(@Nullable String cacheDirectory) {
        return ModelHub.of(environment, cacheDirectory, hadoop, out::println);
    }
}
