package ulysses.driver.launch;

import java.io.Serializable;

/**
 * Where tasks report to.
 *
 * @param host the driver, as executors reach it
 * @param port of {@link ReportServer}
 * @param token lets a task of this run in and nobody else
 */
record RunAddress(String host, int port, String token) implements Serializable {
    private static final long serialVersionUID = 1L;

    /** Without the token. */
    @Override
    public String toString() {
        return host + ":" + port;
    }
}
