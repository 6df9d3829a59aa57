package ulysses.driver.launch;

import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.SocketException;
import java.net.UnknownHostException;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The machine of a task as the other ranks reach it.
 *
 * @param name how Spark calls it, and messages do
 * @param address an IP address: names need not resolve everywhere, or to the same interface
 * @param ranks tasks of the stage on this machine
 * @param speaks whether this task says, for its machine, where others may reach it: the first one there, if there are several machines
 */
record TaskHost(String name, String address, int ranks, boolean speaks) {

    /**
     * Spark's own address for the executor, since executors reach each other by it; but one that is local only (such as 127.0.1.1 from
     * /etc/hosts) can't serve a stage on several machines, and is replaced by the address on the way to the driver.
     *
     * @param name how Spark calls this machine
     * @param taskAddresses host:port of every task of the stage, as the driver sees them
     * @param partition this task
     * @param towardsDriver this machine's address on its way to the driver
     */
    static TaskHost of(String name, List<String> taskAddresses, int partition, InetAddress towardsDriver)
            throws UnknownHostException {
        List<String> hosts = taskAddresses.stream().map(TaskHost::withoutPort).toList();
        String mine = hosts.get(partition);
        InetAddress named = InetAddress.getByName(mine);
        boolean severalHosts = hosts.stream().distinct().count() > 1;
        InetAddress reachable = named.isLoopbackAddress() && severalHosts ? towardsDriver : named;
        int together = (int) hosts.stream().filter(mine::equals).count();
        boolean first = hosts.indexOf(mine) == partition;
        return new TaskHost(name, reachable.getHostAddress(), together, first && severalHosts);
    }

    /**
     * Addresses at which others may reach this machine: {@link #address}, then those of its other interfaces that are up; only those of
     * one interface if {@code chosen} names it.
     *
     * @param chosen the user's choice; null if there is none
     */
    List<String> addresses(@Nullable String chosen) {
        Set<String> found = new LinkedHashSet<>();
        if (chosen == null || networkInterface(address).filter(chosen::equals).isPresent()) {
            found.add(address);
        }
        try {
            NetworkInterface.networkInterfaces()
                    .filter(TaskHost::leadsOutside)
                    .filter(each -> chosen == null || each.getName().equals(chosen))
                    .flatMap(NetworkInterface::inetAddresses)
                    .filter(each -> !each.isLinkLocalAddress())
                    .sorted(Comparator.comparing(Inet6Address.class::isInstance))
                    .map(InetAddress::getHostAddress)
                    .forEach(found::add);
        } catch (SocketException e) {
            // what Spark says is tried alone
        }
        return found.isEmpty()
                ? List.of(address)
                : found.stream().limit(AddressProbe.ADDRESSES).toList();
    }

    private static boolean leadsOutside(NetworkInterface each) {
        try {
            return each.isUp() && !each.isLoopback();
        } catch (SocketException e) {
            return false;
        }
    }

    /** The network interface that carries {@code address}; none if it is not of this machine, such as a translated one. */
    static Optional<String> networkInterface(String address) {
        try {
            return Optional.ofNullable(NetworkInterface.getByInetAddress(InetAddress.getByName(address)))
                    .map(NetworkInterface::getName);
        } catch (UnknownHostException | SocketException e) {
            return Optional.empty();
        }
    }

    /** {@code host:port} or {@code [v6]:port} without port and brackets. */
    static String withoutPort(String address) {
        String host = address.substring(0, address.lastIndexOf(':'));
        return host.startsWith("[") ? host.substring(1, host.length() - 1) : host;
    }
}
