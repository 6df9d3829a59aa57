package ulysses.runtime.memory;

import java.util.List;
import org.bytedeco.pytorch.Dispatcher;
import org.bytedeco.pytorch.GenericList;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.IValueVector;
import org.bytedeco.pytorch.OperatorHandle;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorType;
import org.bytedeco.pytorch.Type;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * An ATen operator that has no Java method, called through the dispatcher's boxed convention. Arguments go in as tensors, lists of
 * tensors, numbers, booleans or null for an absent optional; tensors come out and belong to the caller's innermost scope.
 */
public final class AtenOperator {

    private final String name;
    private final OperatorHandle handle;
    private final int arguments;

    private AtenOperator(String name, OperatorHandle handle, int arguments) {
        this.name = name;
        this.handle = handle;
        this.arguments = arguments;
    }

    /** The operator {@code aten::name} without overload name; throws when this libtorch has none. */
    public static AtenOperator named(String name) {
        return named(name, "");
    }

    /** The operator {@code aten::name.overload}; throws when this libtorch has none. */
    @SuppressWarnings("resource") // the handle points into the dispatcher, which lives as long as the process
    public static AtenOperator named(String name, String overload) {
        try (TensorScope scope = TensorScope.open()) {
            OperatorHandle found = Dispatcher.singleton().findSchemaOrThrow("aten::" + name, overload);
            String schema = torch.toString(found.schema()).getString();
            return new AtenOperator(name, new OperatorHandle(found).retainReference(), arguments(schema));
        }
    }

    /** Number of arguments of a schema such as {@code aten::name(Tensor(a!)[] self, int[2] size=[1, 1], *, int? n=None) -> ()}. */
    private static int arguments(String schema) {
        String text = schema.substring(schema.indexOf('(') + 1);
        int count = text.startsWith(")") ? 0 : 1;
        int depth = 0;
        for (int i = 0; depth >= 0; i++) {
            char c = text.charAt(i);
            depth += c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
            count += depth == 0 && c == ',' ? 1 : depth == 0 && c == '*' ? -1 : 0;
        }
        return count;
    }

    /** Calls it; the order of {@code arguments} is the schema's, and there must be as many: the dispatcher does not count them. */
    public Tensor[] call(@Nullable Object... arguments) {
        if (arguments.length != this.arguments) {
            throw new IllegalArgumentException("aten::%s takes %d arguments, not %d; its schema changes with libtorch"
                    .formatted(name, this.arguments, arguments.length));
        }
        try (IValueVector stack = new IValueVector()) {
            for (Object argument : arguments) {
                try (IValue value = boxed(argument)) {
                    stack.push_back(value);
                }
            }
            handle.callBoxed(stack);
            Tensor[] results = new Tensor[Math.toIntExact(stack.size())];
            for (int i = 0; i < results.length; i++) {
                results[i] = stack.get(i).isTensor() ? new Tensor(stack.get(i).toTensor()) : new Tensor();
            }
            return results;
        }
    }

    private IValue boxed(@Nullable Object argument) {
        if (argument == null) {
            return new IValue();
        } else if (argument instanceof Tensor tensor) {
            return new IValue(tensor);
        } else if (argument instanceof Double number) {
            return new IValue(number.doubleValue());
        } else if (argument instanceof Long number) {
            return new IValue(number.longValue());
        } else if (argument instanceof Boolean flag) {
            return new IValue(flag.booleanValue());
        } else if (argument instanceof List<?> list) {
            return tensorList(list);
        }
        throw new IllegalArgumentException("aten::" + name + " can't take a " + argument.getClass());
    }

    /** IValue has no constructor for a list of tensors: the one that takes a vector treats it as a bare pointer and crashes. */
    private static IValue tensorList(List<?> tensors) {
        GenericList list = new GenericList(new Type.TypePtr(TensorType.get()));
        for (Object tensor : tensors) {
            list.push_back(new IValue((Tensor) tensor));
        }
        return new IValue(list);
    }
}
