package ulysses.driver.launch;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PipedInputStream;
import java.io.PipedOutputStream;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/** A rank process that is a thread of this JVM: the same streams, exit code and end, so that a thousand fit into one machine. */
final class StandInProcess extends Process {
    private static final long FIRST_ID = 1L << 40; // no process of a machine has it
    private static final AtomicLong IDS = new AtomicLong(FIRST_ID);
    private static final int KILLED = 137;

    private final long id = IDS.getAndIncrement();
    private final PipedOutputStream input = new PipedOutputStream();
    private final PipedInputStream output = new PipedInputStream(1 << 12);
    private final CountDownLatch ended = new CountDownLatch(1);
    private final Thread thread;
    private volatile int exitCode = KILLED;

    /** What runs in place of a rank's main method; returns its exit code. */
    @FunctionalInterface
    interface Body {
        int run(InputStream in, OutputStream out) throws Exception;
    }

    StandInProcess(Body body) throws IOException {
        PipedInputStream in = new PipedInputStream(input, 1 << 14);
        PipedOutputStream out = new PipedOutputStream(output);
        this.thread = new Thread(null, () -> run(body, in, out), "stand-in-" + id, 1 << 18);
        thread.setDaemon(true);
        thread.start();
    }

    private void run(Body body, InputStream in, OutputStream out) {
        try (in;
                out) {
            exitCode = body.run(in, out);
        } catch (InterruptedException e) {
            exitCode = KILLED;
        } catch (Exception | Error e) {
            exitCode = 1;
            e.printStackTrace(System.err); // where a process has its log, a thread has this
        } finally {
            ended.countDown();
        }
    }

    @Override
    public long pid() {
        return id;
    }

    @Override
    public OutputStream getOutputStream() {
        return input;
    }

    @Override
    public InputStream getInputStream() {
        return output;
    }

    @Override
    public InputStream getErrorStream() {
        return InputStream.nullInputStream();
    }

    @Override
    public int waitFor() throws InterruptedException {
        ended.await();
        return exitCode;
    }

    @Override
    public boolean waitFor(long time, TimeUnit unit) throws InterruptedException {
        return ended.await(time, unit);
    }

    @Override
    public int exitValue() {
        if (isAlive()) {
            throw new IllegalThreadStateException("it runs");
        }
        return exitCode;
    }

    @Override
    public boolean isAlive() {
        return ended.getCount() > 0;
    }

    @Override
    public void destroy() {
        thread.interrupt();
    }
}
