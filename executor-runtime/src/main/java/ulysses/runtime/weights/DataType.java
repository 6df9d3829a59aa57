package ulysses.runtime.weights;

import java.util.Arrays;
import java.util.Optional;

/** Element types of safetensors files; names and sizes are those of the format. */
public enum DataType {
    F64(8),
    F32(4),
    F16(2),
    BF16(2),
    I64(8),
    I32(4),
    I16(2),
    I8(1),
    U8(1),
    BOOL(1);

    private final int bytes;

    DataType(int bytes) {
        this.bytes = bytes;
    }

    /** Bytes of one element. */
    public int bytes() {
        return bytes;
    }

    /** Whether elements are floating-point numbers. */
    public boolean floating() {
        return this == F64 || this == F32 || this == F16 || this == BF16;
    }

    /** What config.json's {@code dtype} or {@code torch_dtype} calls this type, such as {@code bfloat16}. */
    public String torchName() {
        return switch (this) {
            case F64 -> "float64";
            case F32 -> "float32";
            case F16 -> "float16";
            case BF16 -> "bfloat16";
            case I64 -> "int64";
            case I32 -> "int32";
            case I16 -> "int16";
            case I8 -> "int8";
            case U8 -> "uint8";
            case BOOL -> "bool";
        };
    }

    /** The type that a safetensors header calls {@code name}. */
    public static Optional<DataType> ofName(String name) {
        return Arrays.stream(values()).filter(type -> type.name().equals(name)).findFirst();
    }

    /** The type that config.json calls {@code name}, with or without {@code torch.} in front. */
    public static Optional<DataType> ofTorchName(String name) {
        String plain = name.startsWith("torch.") ? name.substring("torch.".length()) : name;
        return Arrays.stream(values())
                .filter(type -> type.torchName().equals(plain))
                .findFirst();
    }
}
