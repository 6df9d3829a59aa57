package ulysses.job;

import com.sun.jna.Function;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/** The TCP connections of another process on Linux, cut as a lost network would cut them: both ends find them closed. */
final class Connections {
    private static final String ESTABLISHED = "01";
    /** Numbers of system calls, the same on x86-64 and arm64. */
    private static final long PIDFD_OPEN = 434;

    private static final long PIDFD_GETFD = 438;
    private static final int BOTH_WAYS = 2;

    private Connections() {}

    /** Cuts all of {@code process}, whose ancestor this JVM must be; gives how many. */
    static int cut(ProcessHandle process) throws IOException {
        Path proc = Path.of("/proc", Long.toString(process.pid()));
        Set<String> connected = connected(proc);
        int handle = call("syscall", PIDFD_OPEN, process.pid(), 0L);
        int cut = 0;
        for (long descriptor : socketsAmong(connected, proc.resolve("fd"))) {
            int copy = call("syscall", PIDFD_GETFD, (long) handle, descriptor, 0L);
            cut += copy >= 0 && call("shutdown", copy, BOTH_WAYS) == 0 ? 1 : 0;
            call("close", copy);
        }
        call("close", handle);
        return cut;
    }

    /** Inodes of the established connections that the process can see. */
    private static Set<String> connected(Path proc) throws IOException {
        Set<String> inodes = new HashSet<>();
        for (String table : List.of("tcp", "tcp6")) {
            for (String line : Files.readAllLines(proc.resolve("net").resolve(table))) {
                String[] words = line.strip().split("\\s+", -1);
                if (words.length > 9 && words[3].equals(ESTABLISHED)) {
                    inodes.add("socket:[" + words[9] + "]");
                }
            }
        }
        return inodes;
    }

    private static List<Long> socketsAmong(Set<String> connected, Path descriptors) throws IOException {
        List<Long> sockets = new ArrayList<>();
        try (Stream<Path> open = Files.list(descriptors)) {
            for (Path descriptor : open.toList()) {
                if (connected.contains(Files.readSymbolicLink(descriptor).toString())) {
                    sockets.add(Long.parseLong(String.valueOf(descriptor.getFileName())));
                }
            }
        }
        return sockets;
    }

    private static int call(String name, Object... arguments) {
        return Function.getFunction("c", name).invokeInt(arguments);
    }
}
