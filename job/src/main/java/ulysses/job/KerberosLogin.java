package ulysses.job;

import java.io.IOException;
import java.io.UncheckedIOException;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.spark.SparkConf;
import ulysses.driver.launch.FailureKind;
import ulysses.driver.launch.LaunchException;

/**
 * Who the driver is where Hadoop is secured. spark-submit logs in by the keytab on YARN and Kubernetes, not on a standalone cluster, and
 * Spark itself only when its session opens: after the model was looked at.
 */
final class KerberosLogin {
    private static final String PRINCIPAL = "spark.kerberos.principal";
    private static final String KEYTAB = "spark.kerberos.keytab";

    /** How Hadoop says that it has nothing to show to a server that asks. */
    private static final String NOTHING_TO_SHOW = "Client cannot authenticate via:";

    /** How a secured server says that the client does not know that it has to show anything. */
    private static final String NOT_SECURED = "SIMPLE authentication is not enabled";

    private KerberosLogin() {}

    /**
     * Logs in by the keytab of {@code conf}, if Hadoop is secured, there is one and nobody did.
     *
     * @throws LaunchException when the keytab does not allow it
     */
    static void open(SparkConf conf) {
        boolean given = conf.contains(PRINCIPAL) && conf.contains(KEYTAB);
        if (!given || !UserGroupInformation.isSecurityEnabled() || isLoggedIn()) {
            return;
        }
        try {
            UserGroupInformation.loginUserFromKeytab(conf.get(PRINCIPAL), conf.get(KEYTAB));
        } catch (IOException e) {
            throw new LaunchException(
                    FailureKind.CONFIG,
                    "%s %s, %s %s: no login with them (%s); see what klist -kt says of the keytab, and which KDC krb5.conf names"
                            .formatted(
                                    PRINCIPAL,
                                    conf.get(PRINCIPAL),
                                    KEYTAB,
                                    conf.get(KEYTAB),
                                    String.valueOf(e.getMessage()).strip()),
                    e);
        }
    }

    private static boolean isLoggedIn() {
        return user().hasKerberosCredentials();
    }

    private static UserGroupInformation user() {
        try {
            return UserGroupInformation.getCurrentUser();
        } catch (IOException e) {
            throw new UncheckedIOException("Hadoop can't tell whom this process works for: " + e.getMessage(), e);
        }
    }

    /** The same failure, or what to do about it where a server asked for a ticket or a token and saw neither. */
    static Exception explained(Exception failure) {
        if (says(NOT_SECURED, failure)) {
            return refused(
                    ("no Kerberos here: the file system asks for it, and hadoop.security.authentication is simple; name the cluster's"
                                    + " configuration by HADOOP_CONF_DIR, on a standalone cluster for the Workers too (%s)")
                            .formatted(failure.getMessage()),
                    failure);
        } else if (!says(NOTHING_TO_SHOW, failure)) {
            return failure;
        }
        return refused(
                isLoggedIn()
                        ? ("no token: an executor or a rank has none for a file system that asks for one; name it in"
                                        + " spark.kerberos.access.hadoopFileSystems (%s)")
                                .formatted(failure.getMessage())
                        : ("no Kerberos ticket: the file system asks %s for one (hadoop.security.authentication is kerberos); run kinit,"
                                        + " or give --conf %s=USER@REALM --conf %s=FILE")
                                .formatted(user().getUserName(), PRINCIPAL, KEYTAB),
                failure);
    }

    private static LaunchException refused(String message, Exception failure) {
        return new LaunchException(FailureKind.CONFIG, message, failure);
    }

    private static boolean says(String words, Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (String.valueOf(cause.getMessage()).contains(words)) {
                return true;
            }
        }
        return false;
    }
}
