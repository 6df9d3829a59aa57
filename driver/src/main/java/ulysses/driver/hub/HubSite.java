package ulysses.driver.hub;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import ulysses.runtime.weights.WeightsException;

/**
 * The Hugging Face hub or a mirror of it, by the paths that its own client uses. Redirects are followed here, so that the token goes to
 * the hub alone and never to the host that stores large files. An {@link IOException} may pass when it is tried again; what will not
 * change is a {@link WeightsException}.
 *
 * @param endpoint {@code HF_ENDPOINT}, without a slash at the end
 * @param token {@code HF_TOKEN}; empty asks without one
 * @param patience for a connection and for the next byte
 */
record HubSite(String endpoint, Optional<String> token, Duration patience) {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int REDIRECTS = 5; // chosen: the hub needs one, a renamed model two
    private static final int TOO_MANY = 429;
    private static final int RANGE_REFUSED = 416;

    /**
     * A model at one moment.
     *
     * @param commit 40 hexadecimal digits
     * @param files all of its files, by their path in it
     */
    record Listing(String commit, List<String> files) {
        Listing {
            files = List.copyOf(files);
        }
    }

    /**
     * A file.
     *
     * @param location where its bytes are
     * @param etag SHA-256 of a large file, git's SHA-1 of a small one, or what a mirror says
     * @param size bytes; -1 when it is not said
     */
    record Remote(URI location, String etag, long size) {}

    /** What lies at {@code revision} of the model {@code id}. */
    Listing listing(String id, String revision) throws IOException {
        URI uri = URI.create(endpoint + "/api/models/" + id + "/revision/" + encoded(revision));
        String what = "%s (revision %s)".formatted(id, revision);
        HttpURLConnection connection = followed(uri, "GET", what, false);
        try (InputStream body = connection.getInputStream()) {
            JsonNode model = JSON.readTree(body);
            String commit = model.path("sha").asText();
            if (!commit.matches("[0-9a-f]{40}")) {
                throw new WeightsException("%s names no commit (sha) of %s; check HF_ENDPOINT".formatted(uri, id));
            }
            List<String> files = new ArrayList<>();
            model.path("siblings")
                    .forEach(file -> files.add(file.path("rfilename").asText()));
            return new Listing(commit, files);
        } catch (JsonProcessingException e) {
            throw new WeightsException("%s answers with something else than JSON; check HF_ENDPOINT".formatted(uri), e);
        }
    }

    /** Where the file {@code name} of a model is, and what it should be. */
    Remote find(String id, String commit, String name) throws IOException {
        URI uri = URI.create("%s/%s/resolve/%s/%s".formatted(endpoint, id, commit, encoded(name)));
        HttpURLConnection head = followed(uri, "HEAD", name + " of " + id, true);
        String large = head.getHeaderField("X-Linked-ETag");
        String etag = large == null ? Objects.requireNonNullElse(head.getHeaderField("ETag"), "") : large;
        String linkedSize = head.getHeaderField("X-Linked-Size");
        String location = head.getHeaderField("Location");
        boolean elsewhere = location != null && isRedirect(head.getResponseCode());
        try {
            long size = linkedSize != null ? Long.parseLong(linkedSize) : elsewhere ? -1 : head.getContentLengthLong();
            URI at = URI.create(head.getURL().toString());
            return new Remote(
                    elsewhere ? at.resolve(location) : at,
                    etag.replaceFirst("^W/", "").replace("\"", ""),
                    size);
        } catch (IllegalArgumentException odd) {
            throw new WeightsException(
                    "%s answers with headers that can't be read: %s; check HF_ENDPOINT"
                            .formatted(uri, odd.getMessage()),
                    odd);
        }
    }

    /**
     * The bytes of {@code remote} from {@code from} on.
     *
     * @param start where they really start: {@code from}, or 0 if the host can't begin elsewhere
     */
    record Bytes(InputStream stream, long start) implements AutoCloseable {
        @Override
        public void close() throws IOException {
            stream.close();
        }
    }

    Bytes read(Remote remote, long from, String what) throws IOException {
        URI uri = remote.location();
        for (int hop = 0; hop <= REDIRECTS; hop++) {
            HttpURLConnection connection = connection(uri, "GET");
            if (from > 0) {
                connection.setRequestProperty("Range", "bytes=" + from + "-");
            }
            int code = connection.getResponseCode();
            if (code == HttpURLConnection.HTTP_OK) {
                return new Bytes(connection.getInputStream(), 0);
            } else if (code == HttpURLConnection.HTTP_PARTIAL && startOf(connection) == from) {
                return new Bytes(connection.getInputStream(), from);
            } else if (code == RANGE_REFUSED && from > 0) {
                return read(remote, 0, what);
            } else if (!isRedirect(code)) {
                throw failure(connection, what);
            }
            uri = uri.resolve(Objects.requireNonNullElse(connection.getHeaderField("Location"), ""));
        }
        throw new IOException("%s redirects more than %d times".formatted(remote.location(), REDIRECTS));
    }

    private static long startOf(HttpURLConnection connection) {
        String range = Objects.requireNonNullElse(connection.getHeaderField("Content-Range"), "");
        return range.matches("bytes \\d+-.*") ? Long.parseLong(range.replaceAll("bytes (\\d+)-.*", "$1")) : -1;
    }

    /** Follows a renamed model; a redirect that says what the file is (its large-file headers) is an answer, if wanted. */
    private HttpURLConnection followed(URI start, String method, String what, boolean linkIsAnswer) throws IOException {
        URI uri = start;
        for (int hop = 0; hop <= REDIRECTS; hop++) {
            HttpURLConnection connection = connection(uri, method);
            int code = connection.getResponseCode();
            boolean answer = linkIsAnswer && connection.getHeaderField("X-Linked-ETag") != null && isRedirect(code);
            if (code == HttpURLConnection.HTTP_OK || answer) {
                return connection;
            } else if (!isRedirect(code)) {
                throw failure(connection, what);
            }
            uri = uri.resolve(Objects.requireNonNullElse(connection.getHeaderField("Location"), ""));
        }
        throw new IOException("%s redirects more than %d times".formatted(start, REDIRECTS));
    }

    private static boolean isRedirect(int code) {
        return List.of(301, 302, 303, 307, 308).contains(code);
    }

    private HttpURLConnection connection(URI uri, String method) throws IOException {
        if (!(uri.toURL().openConnection() instanceof HttpURLConnection connection)) {
            throw new IOException(uri + " is not http");
        }
        connection.setInstanceFollowRedirects(false);
        connection.setRequestMethod(method);
        connection.setConnectTimeout((int) patience.toMillis());
        connection.setReadTimeout((int) patience.toMillis());
        connection.setRequestProperty("Accept-Encoding", "identity");
        connection.setRequestProperty("User-Agent", "ulysses-on-spark");
        if (uri.getAuthority().equals(URI.create(endpoint).getAuthority())) {
            token.ifPresent(value -> connection.setRequestProperty("Authorization", "Bearer " + value));
        }
        return connection;
    }

    /** Refusals are said once and for all; what a busy or broken host says may pass. */
    private IOException failure(HttpURLConnection connection, String what) throws IOException {
        int code = connection.getResponseCode();
        String reason = Objects.requireNonNullElse(connection.getHeaderField("X-Error-Code"), "");
        connection.disconnect();
        boolean mayPass = code >= 500 || code == TOO_MANY || code == 408;
        if (mayPass || !atHub(connection)) {
            return new IOException("%s answers %d".formatted(connection.getURL().getAuthority(), code));
        }
        String fix = switch (reason) {
            case "GatedRepo" ->
                "its owner wants terms accepted on its page at the hub; do that, and set HF_TOKEN to a token of that account";
            case "RevisionNotFound" -> "there is no such model_revision";
            case "EntryNotFound" -> "the file is not there";
            default ->
                code == 401 || code == 403
                        ? token.isEmpty()
                                ? "there is no such model, or it is private: check the name, and set HF_TOKEN if it needs one"
                                : "there is no such model, or HF_TOKEN does not open it: check both"
                        : "check the name";
        };
        throw new WeightsException("%s has no %s for us (%d): %s".formatted(endpoint, what, code, fix));
    }

    private boolean atHub(HttpURLConnection connection) {
        return connection.getURL().getAuthority().equals(URI.create(endpoint).getAuthority());
    }

    private static String encoded(String part) {
        return URLEncoder.encode(part, StandardCharsets.UTF_8).replace("+", "%20");
    }
}
