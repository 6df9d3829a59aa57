package ulysses.driver.launch;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;

/**
 * Finds the address at which all other hosts really reach a host, by connecting: an address of a machine may lead nowhere from
 * elsewhere (a bridge of containers that every machine has, a card without a cable, a firewall). While the tasks meet, one of each host
 * listens on all interfaces, and connects to every address that the others offer.
 */
final class AddressProbe implements AutoCloseable {
    /** Addresses that a host offers at most: what a digit says of each. */
    static final int ADDRESSES = 4;

    private static final int PATIENCE_MILLIS = 3000; // chosen: three times what a lost first packet costs
    private static final int THREADS = 64;

    private final Offer offer;
    private final ServerSocket listening;

    /**
     * Where one host may be reached.
     *
     * @param host the name that others know it by
     * @param addresses the one to prefer first; at most {@link #ADDRESSES}
     * @param port where it listens on all of them
     * @param word what it says, so that nobody takes another machine for it
     */
    record Offer(String host, List<String> addresses, int port, String word) {
        Offer {
            addresses = List.copyOf(addresses);
        }
    }

    private AddressProbe(Offer offer, ServerSocket listening) {
        this.offer = offer;
        this.listening = listening;
    }

    /** Listens for {@code host} until it is closed. */
    static AddressProbe listen(String host, List<String> addresses) throws IOException {
        ServerSocket listening =
                new ServerSocket(0, 1024); // on all interfaces; as many as there are hosts may come at once
        Offer offer = new Offer(
                host, addresses, listening.getLocalPort(), UUID.randomUUID().toString());
        AddressProbe probe = new AddressProbe(offer, listening);
        Thread thread = new Thread(probe::answer, "address-probe");
        thread.setDaemon(true);
        thread.start();
        return probe;
    }

    Offer offer() {
        return offer;
    }

    private void answer() {
        byte[] word = offer.word().getBytes(StandardCharsets.UTF_8);
        while (!listening.isClosed()) {
            try (Socket caller = listening.accept()) {
                caller.getOutputStream().write(word);
            } catch (IOException e) {
                // closed, or a caller that did not wait
            }
        }
    }

    /** Connects to all of {@code offers}: for each a hexadecimal digit, whose bit i says that the address i answered. */
    String reached(List<Offer> offers) throws InterruptedException {
        ExecutorService threads = Executors.newFixedThreadPool(THREADS, task -> {
            Thread thread = new Thread(task, "address-probe");
            thread.setDaemon(true);
            return thread;
        });
        try {
            List<List<Future<Boolean>>> answers = new ArrayList<>();
            for (Offer other : offers) {
                answers.add(other.addresses().stream()
                        .map(address -> threads.submit(() -> other.equals(offer) || answers(other, address)))
                        .toList());
            }
            StringBuilder digits = new StringBuilder();
            for (List<Future<Boolean>> ofHost : answers) {
                int bits = 0;
                for (int i = 0; i < ofHost.size(); i++) {
                    bits |= ofHost.get(i).get() ? 1 << i : 0;
                }
                digits.append(Integer.toHexString(bits));
            }
            return digits.toString();
        } catch (ExecutionException e) {
            throw new IllegalStateException("other hosts can't be asked: " + e.getCause(), e);
        } finally {
            threads.shutdownNow();
        }
    }

    private static boolean answers(Offer other, String address) {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(address, other.port()), PATIENCE_MILLIS);
            socket.setSoTimeout(PATIENCE_MILLIS);
            InputStream said = socket.getInputStream();
            byte[] word = other.word().getBytes(StandardCharsets.UTF_8);
            return Arrays.equals(said.readNBytes(word.length), word);
        } catch (IOException e) {
            return false;
        }
    }

    /**
     * The first address of each host at which all others reach it.
     *
     * @param offers of all hosts
     * @param reached what {@link #reached} gave on each, in the same order
     * @throws LaunchException when a host has none; says who can't reach it
     */
    static Map<String, String> agreed(List<Offer> offers, List<String> reached) {
        Map<String, String> addresses = new TreeMap<>();
        for (int host = 0; host < offers.size(); host++) {
            int bits = reachedByAll(host, reached);
            if (bits == 0) {
                throw unreachable(host, offers, reached);
            }
            Offer offer = offers.get(host);
            addresses.put(offer.host(), offer.addresses().get(Integer.numberOfTrailingZeros(bits)));
        }
        return addresses;
    }

    /** Whether every host has an address at which all others reach it. */
    static boolean suffices(List<Offer> offers, List<String> reached) {
        return IntStream.range(0, offers.size()).allMatch(host -> reachedByAll(host, reached) != 0);
    }

    private static int reachedByAll(int host, List<String> reached) {
        return reached.stream().mapToInt(seen -> bits(seen, host)).reduce(-1, (a, b) -> a & b);
    }

    private static int bits(String seen, int host) {
        return Character.digit(seen.charAt(host), 16);
    }

    private static LaunchException unreachable(int host, List<Offer> offers, List<String> reached) {
        Offer offer = offers.get(host);
        List<String> without = IntStream.range(0, offers.size())
                .filter(from -> bits(reached.get(from), host) == 0)
                .mapToObj(from -> offers.get(from).host())
                .toList();
        String who = without.isEmpty()
                ? "has no address at which all other hosts reach it"
                : "can't be reached from " + String.join(", ", without);
        return new LaunchException(
                FailureKind.INFRASTRUCTURE,
                ("host %s %s; tried %s. Ranks connect to each other at any port: open the network between executors, or name the"
                                + " interface that leads to the others with spark.executorEnv.GLOO_SOCKET_IFNAME (NCCL_SOCKET_IFNAME"
                                + " on GPUs)")
                        .formatted(offer.host(), who, String.join(", ", offer.addresses())));
    }

    @Override
    public void close() {
        try {
            listening.close();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
