package ulysses.runtime.memory;

import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Supplier;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;

/** Lives until closed: one file for each {@link #send}, one thread that copies in the order of calls. */
final class FileOffload implements Offload {

    private final Path folder;
    private final ExecutorService thread = Executors.newSingleThreadExecutor(task -> {
        Thread worker = new Thread(task, "activation offload");
        worker.setDaemon(true);
        return worker;
    });

    FileOffload(Path folder) {
        this.folder = folder;
    }

    @Override
    public Away send(List<Tensor> tensors) {
        return new InFile(tensors);
    }

    @Override
    public void close() {
        thread.shutdown();
    }

    private FileChannel namelessFile() throws IOException {
        Path file = Files.createTempFile(folder, "activations", ".bin");
        try {
            return FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE);
        } finally {
            Files.delete(file);
        }
    }

    private interface Copy {
        void run() throws IOException;
    }

    private CompletableFuture<Void> submit(String doing, Copy copy) {
        return CompletableFuture.runAsync(
                () -> {
                    try {
                        copy.run();
                    } catch (IOException e) {
                        throw new UncheckedIOException(
                                "can't %s activations in %s: %s; free space there, or set offload_activations: false"
                                        .formatted(doing, folder, e.getMessage()),
                                e);
                    }
                },
                thread);
    }

    private static void await(CompletableFuture<Void> copy) {
        try {
            copy.join();
        } catch (CompletionException e) {
            throw e.getCause() instanceof UncheckedIOException failure ? failure : e;
        }
    }

    private final class InFile implements Away {
        private final List<Supplier<Tensor>> empty;
        private final FileChannel file;
        private final CompletableFuture<Void> written;
        private Optional<Reading> reading = Optional.empty();

        private record Reading(List<Tensor> tensors, CompletableFuture<Void> done) {}

        InFile(List<Tensor> tensors) {
            try (TensorScope scope = TensorScope.open()) {
                List<Tensor> sources = tensors.stream()
                        .map(x -> TensorScope.own(x.detach().contiguous()))
                        .toList();
                this.empty = sources.stream().map(InFile::emptyLike).toList();
                this.file = namelessFile();
                this.written = submit("write", () -> write(sources));
            } catch (IOException e) {
                throw new UncheckedIOException("no file for activations in " + folder + ": " + e.getMessage(), e);
            }
        }

        private static Supplier<Tensor> emptyLike(Tensor x) {
            long[] sizes = x.sizes().vec().get();
            torch.ScalarType type = x.scalar_type().intern();
            return () ->
                    TensorScope.own(torch.empty(sizes, new TensorOptions().dtype(new ScalarTypeOptional(type)), null));
        }

        private void write(List<Tensor> sources) throws IOException {
            try {
                for (Tensor source : sources) {
                    TensorBytes.write(source, file);
                }
            } finally {
                sources.forEach(Tensor::close);
            }
        }

        @Override
        public void sent() {
            await(written);
        }

        @Override
        public void fetch() {
            if (reading.isPresent()) {
                return;
            }
            try (TensorScope scope = TensorScope.open()) {
                List<Tensor> tensors = empty.stream().map(Supplier::get).toList();
                reading = Optional.of(new Reading(tensors, submit("read", () -> read(tensors))));
            }
        }

        private void read(List<Tensor> tensors) throws IOException {
            file.position(0);
            for (Tensor tensor : tensors) {
                TensorBytes.forEach(tensor, (offset, buffer) -> {
                    while (buffer.hasRemaining()) {
                        if (file.read(buffer) < 0) {
                            throw new EOFException("the file ends early");
                        }
                    }
                });
            }
        }

        @Override
        public List<Tensor> back() {
            fetch();
            Reading mine = reading.orElseThrow();
            reading = Optional.empty();
            try {
                await(written);
                await(mine.done());
                return mine.tensors();
            } catch (RuntimeException e) {
                mine.tensors().forEach(Tensor::close);
                throw e;
            }
        }

        /** Behind what this thread still copies. */
        @Override
        public void close() {
            thread.execute(() -> {
                reading.ifPresent(it -> it.tensors().forEach(Tensor::close));
                closeFile();
            });
        }

        private void closeFile() {
            try {
                file.close();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }
}
