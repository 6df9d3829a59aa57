package ulysses.job;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * The fields of a Spark operator's resources, a line each: path, type, and what is required or allowed. Made from its published CRDs;
 * pod specs inside, which are Kubernetes' own, are left out and may hold anything.
 */
record OperatorFields(Map<String, String> types) {

    static final String KUBEFLOW = "spark-operator-v1beta2.fields";
    static final String APACHE = "apache-spark-operator-v1.fields";

    static OperatorFields read(String file) {
        Map<String, String> types = new LinkedHashMap<>();
        try (InputStream in = OperatorFields.class.getResourceAsStream("/kubernetes/" + file)) {
            new String(Objects.requireNonNull(in).readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .filter(line -> !line.startsWith("#"))
                    .forEach(line ->
                            types.put(line.substring(0, line.indexOf(' ')), line.substring(line.indexOf(' ') + 1)));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return new OperatorFields(types);
    }

    /** What of {@code value}, which lies at {@code path}, the operator would not take. */
    List<String> problems(String path, JsonNode value) {
        List<String> problems = new ArrayList<>();
        collect(path, value, problems);
        return problems;
    }

    private void collect(String path, JsonNode value, List<String> problems) {
        String[] words = types.getOrDefault(path, "none").split(" ", 2);
        String type = words[0];
        String more = words.length > 1 ? words[1] : "";
        if (type.equals("none")) {
            problems.add(path + ": no such field");
        } else if (!fits(type, value)) {
            problems.add(path + ": is no " + type);
        } else if (type.equals("object")) {
            required(path, value, more, problems);
            value.properties().forEach(field -> collect(path + "." + field.getKey(), field.getValue(), problems));
        } else if (type.equals("array")) {
            value.forEach(element -> collect(path + "[]", element, problems));
        } else if (more.startsWith("enum=")
                && !List.of(more.substring(5).split(",", -1)).contains(value.asText())) {
            problems.add(path + ": is none of " + more.substring(5));
        }
    }

    private static void required(String path, JsonNode value, String more, List<String> problems) {
        if (more.startsWith("required=")) {
            for (String name : more.substring("required=".length()).split(",", -1)) {
                if (!value.has(name)) {
                    problems.add(path + ": " + name + " is missing");
                }
            }
        }
    }

    private static boolean fits(String type, JsonNode value) {
        return switch (type) {
            case "string" -> value.isTextual();
            case "integer" -> value.isIntegralNumber();
            case "number" -> value.isNumber();
            case "boolean" -> value.isBoolean();
            case "array" -> value.isArray();
            case "object" -> value.isObject();
            case "map:string" ->
                value.isObject()
                        && value.properties().stream()
                                .allMatch(field -> field.getValue().isTextual());
            default -> true; // any, int-or-string, maps of objects
        };
    }
}
