package ulysses.driver.launch;

import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.SocketException;
import java.net.UnknownHostException;
import java.util.List;
import java.util.Optional;

/**
 * The machine of a task as the other ranks reach it.
 *
 * @param address an IP address: names need not resolve everywhere, or to the same interface
 * @param ranks tasks of the stage on this machine
 */
record TaskHost(String address, int ranks) {

    /**
     * Spark's own address for the executor, since executors reach each other by it; but one that is local only (such as 127.0.1.1 from
     * /etc/hosts) can't serve a stage on several machines, and is replaced by the address on the way to the driver.
     *
     * @param taskAddresses host:port of every task of the stage
     * @param partition this task
     * @param towardsDriver this machine's address on its way to the driver
     */
    static TaskHost of(List<String> taskAddresses, int partition, InetAddress towardsDriver)
            throws UnknownHostException {
        List<String> hosts = taskAddresses.stream().map(TaskHost::withoutPort).toList();
        String mine = hosts.get(partition);
        InetAddress named = InetAddress.getByName(mine);
        boolean severalHosts = hosts.stream().distinct().count() > 1;
        InetAddress reachable = named.isLoopbackAddress() && severalHosts ? towardsDriver : named;
        int together = (int) hosts.stream().filter(mine::equals).count();
        return new TaskHost(reachable.getHostAddress(), together);
    }

    /** The network interface that carries the address. */
    Optional<String> networkInterface() {
        try {
            return Optional.ofNullable(NetworkInterface.getByInetAddress(InetAddress.getByName(address)))
                    .map(NetworkInterface::getName);
        } catch (UnknownHostException | SocketException e) {
            return Optional
                    .empty(); // the address may be a translated one; then Gloo has to find its interface by itself
        }
    }

    /** {@code host:port} or {@code [v6]:port} without port and brackets. */
    static String withoutPort(String address) {
        String host = address.substring(0, address.lastIndexOf(':'));
        return host.startsWith("[") ? host.substring(1, host.length() - 1) : host;
    }
}
