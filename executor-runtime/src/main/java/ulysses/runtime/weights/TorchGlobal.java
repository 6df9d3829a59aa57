package ulysses.runtime.weights;

import java.util.Arrays;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * A name that a pickle of weights may ask for.
 *
 * @param name module and name in Python
 * @param role what it stands for
 * @param elements of a storage: the type of its elements
 */
record TorchGlobal(String name, Role role, @Nullable DataType elements) {
    private static final int NAME_IN_MESSAGE = 120; // letters; a name in a hostile file may have any number

    /** What a name stands for. */
    enum Role {
        DICT,
        TENSOR,
        PARAMETER,
        STORAGE
    }

    private static final Map<String, TorchGlobal> ALLOWED = Arrays.stream(new TorchGlobal[] {
                new TorchGlobal("collections.OrderedDict", Role.DICT, null),
                new TorchGlobal("torch._utils._rebuild_tensor", Role.TENSOR, null),
                new TorchGlobal("torch._utils._rebuild_tensor_v2", Role.TENSOR, null),
                new TorchGlobal("torch._utils._rebuild_parameter", Role.PARAMETER, null),
                new TorchGlobal("torch._utils._rebuild_parameter_with_state", Role.PARAMETER, null),
                new TorchGlobal("torch.DoubleStorage", Role.STORAGE, DataType.F64),
                new TorchGlobal("torch.FloatStorage", Role.STORAGE, DataType.F32),
                new TorchGlobal("torch.HalfStorage", Role.STORAGE, DataType.F16),
                new TorchGlobal("torch.BFloat16Storage", Role.STORAGE, DataType.BF16),
                new TorchGlobal("torch.LongStorage", Role.STORAGE, DataType.I64),
                new TorchGlobal("torch.IntStorage", Role.STORAGE, DataType.I32),
                new TorchGlobal("torch.ShortStorage", Role.STORAGE, DataType.I16),
                new TorchGlobal("torch.CharStorage", Role.STORAGE, DataType.I8),
                new TorchGlobal("torch.ByteStorage", Role.STORAGE, DataType.U8),
                new TorchGlobal("torch.BoolStorage", Role.STORAGE, DataType.BOOL)
            })
            .collect(Collectors.toUnmodifiableMap(TorchGlobal::name, Function.identity()));

    /** What {@code name} stands for in the file at {@code path}; a {@link WeightsException} names it when it is not allowed. */
    static TorchGlobal named(String name, String path) {
        TorchGlobal global = ALLOWED.get(name);
        if (global == null) {
            String shown = name.substring(0, Math.min(NAME_IN_MESSAGE, name.length()));
            throw new WeightsException(
                    "%s is refused: it asks Python for %s, which weights do not need; nothing in the file was run. If you trust where it comes from, load it there and save it as safetensors (save_pretrained); if not, delete it"
                            .formatted(path, shown));
        }
        return global;
    }

    @Override
    public String toString() {
        return name;
    }
}
