package ulysses.driver.report;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.URI;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import ulysses.runtime.config.ConfigException;

/** Where MLflow keeps runs: a tracking server, or a folder in the form of its file store. MLflow's own environment variables say. */
interface MlflowTracking {
    /** Names the place. */
    String URI_VARIABLE = "MLFLOW_TRACKING_URI";

    /** Names the experiment. */
    String EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME";

    /**
     * The place that {@code environment} names; nothing is asked or written yet.
     *
     * @throws ConfigException if it names none
     */
    static MlflowTracking of(Map<String, String> environment) {
        String text = environment.getOrDefault(URI_VARIABLE, "").strip();
        String experiment = environment.getOrDefault(EXPERIMENT_VARIABLE, "Default");
        if (text.matches("https?://[^\\s]+")) {
            return MlflowServer.of(URI.create(text.replaceAll("/+$", "")), environment, experiment);
        } else if (text.startsWith("file:/") || text.startsWith("/")) {
            Path folder = text.startsWith("/") ? Path.of(text) : Path.of(URI.create(text));
            return new MlflowFolder(folder, experiment);
        }
        String what = text.isEmpty() ? "is not set" : "is " + RunArguments.masked(text);
        throw new ConfigException(
                "report_to",
                List.of(
                        "report_to mlflow needs a place for runs, but %s %s; set it to http://HOST:PORT of a tracking server or to a folder, file:///FOLDER, or leave mlflow out"
                                .formatted(URI_VARIABLE, what)));
    }

    /** Id of the experiment, which is made if there is none. */
    String experimentId();

    /** What an endpoint of MLflow's REST API 2.0, such as {@code runs/create}, answers to {@code body}. */
    JsonNode post(String endpoint, ObjectNode body);
}
