package ulysses.runtime.memory;

import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;

/**
 * States that are made and filled until the disk has no room: {@code main FOLDER MEBIBYTES COUNT}. Prints how many were made and what the
 * user is told.
 */
final class MappedStates {

    private MappedStates() {}

    public static void main(String[] arguments) {
        NativeRuntime.configure();
        StateHome home = StateHome.mappedIn(Path.of(arguments[0]));
        long elements = (Long.parseLong(arguments[1]) << 20) / Float.BYTES;
        List<Tensor> states = new ArrayList<>();
        String said = "";
        try {
            for (int i = 0; i < Integer.parseInt(arguments[2]); i++) {
                states.add(home.zeros(elements));
            }
        } catch (UncheckedIOException full) {
            said = full.getMessage();
        }
        try (TensorScope scope = TensorScope.open()) {
            states.forEach(state -> state.fill_(new Scalar(1)));
        }
        System.out.printf("made %d%n%s%n", states.size(), said);
    }
}
