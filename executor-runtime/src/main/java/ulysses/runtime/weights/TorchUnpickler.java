package ulysses.runtime.weights;

import java.math.BigInteger;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads pickles of weights: a stack machine for those instructions of protocol 2 that torch.save writes (docs.python.org,
 * pickletools). A pickle is a program that may ask for any function to be called; here the few names of {@link TorchGlobal} stand for
 * values of ours, every other name is refused, and nothing is ever called.
 *
 * <p>INVARIANT: no instruction makes more objects than it has bytes, walks into what it is given, or recurses, so that a file costs
 * memory and time in proportion to its length, however deeply or often its values hold each other.
 */
final class TorchUnpickler {
    /** Python's None. */
    static final Object NONE = new Object() {
        @Override
        public String toString() {
            return "None";
        }
    };

    private final PickleBytes in;
    private final List<Object> stack = new ArrayList<>();
    private final Deque<Integer> marks = new ArrayDeque<>();
    private final Map<Integer, Object> memo = new HashMap<>();

    /** A tuple, equal only to itself. */
    static final class Tuple {
        private final Object[] values;

        Tuple(Object... values) {
            this.values = values;
        }

        int size() {
            return values.length;
        }

        Object get(int index) {
            return values[index];
        }
    }

    /** Where elements lie: one of the file's byte ranges, read as elements of one type. */
    record Storage(DataType type, String key, long elements) {}

    /** A view of a storage; not checked yet. */
    @SuppressWarnings("ArrayRecordComponent") // a carrier, never compared
    record View(Storage storage, long offset, long[] shape, long[] stride) {}

    TorchUnpickler(PickleBytes in) {
        this.in = in;
    }

    /** The value of the next pickle. */
    Object read() {
        stack.clear();
        marks.clear();
        memo.clear();
        for (int code = in.unsignedByte(); code != '.'; code = in.unsignedByte()) {
            execute(code);
        }
        return pop();
    }

    private void execute(int code) {
        switch (code) {
            case 0x80 -> protocol(in.unsignedByte());
            case '(' -> marks.push(stack.size());
            case '}' -> stack.add(new LinkedHashMap<>());
            case ']' -> stack.add(new ArrayList<>());
            case ')' -> stack.add(new Tuple());
            case 't' -> stack.add(new Tuple(popToMark().toArray()));
            case 0x85 -> tuple(1);
            case 0x86 -> tuple(2);
            case 0x87 -> tuple(3);
            case 'N' -> stack.add(NONE);
            case 0x88 -> stack.add(true);
            case 0x89 -> stack.add(false);
            case 'J' -> stack.add((long) in.int32());
            case 'K' -> stack.add((long) in.unsignedByte());
            case 'M' -> stack.add((long) in.unsignedByte() | (long) in.unsignedByte() << 8);
            case 0x8a -> stack.add(wholeNumber(in.bytes(in.unsignedByte())));
            case 'G' -> stack.add(Double.longBitsToDouble(Long.reverseBytes(in.int64())));
            case 'X' -> stack.add(in.text(in.int32()));
            case 'U' -> stack.add(in.text(in.unsignedByte()));
            case 'T' -> stack.add(in.text(in.int32()));
            case 'q' -> memo.put(in.unsignedByte(), peek());
            case 'r' -> memo.put(in.int32(), peek());
            case 'h' -> stack.add(remembered(in.unsignedByte()));
            case 'j' -> stack.add(remembered(in.int32()));
            case 'c' -> stack.add(TorchGlobal.named(in.line() + "." + in.line(), in.path()));
            case 'Q' -> stack.add(storage(pop()));
            case 'R' -> reduce();
            case 'b' -> build();
            case 'a' -> append(List.of(pop()));
            case 'e' -> append(popToMark());
            case 's' -> putAll(popped(2));
            case 'u' -> putAll(popToMark());
            default ->
                throw in.refused("it has the instruction 0x%02x, which torch.save does not write".formatted(code));
        }
    }

    private void protocol(int version) {
        if (version != 2) {
            throw in.refused(
                    "it is a pickle of protocol %d; torch.save writes 2 unless told otherwise".formatted(version));
        }
    }

    private Object pop() {
        int floor = marks.isEmpty() ? 0 : marks.peek();
        if (stack.size() <= floor) {
            throw in.damaged("it takes a value where there is none");
        }
        return stack.remove(stack.size() - 1);
    }

    private Object peek() {
        Object top = pop();
        stack.add(top);
        return top;
    }

    private List<Object> popToMark() {
        if (marks.isEmpty()) {
            throw in.damaged("it ends a list that was not begun");
        }
        List<Object> above = stack.subList(marks.pop(), stack.size());
        List<Object> values = new ArrayList<>(above);
        above.clear();
        return values;
    }

    private List<Object> popped(int count) {
        Object[] values = new Object[count];
        for (int i = count - 1; i >= 0; i--) {
            values[i] = pop();
        }
        return Arrays.asList(values);
    }

    private void tuple(int size) {
        stack.add(new Tuple(popped(size).toArray()));
    }

    private Object wholeNumber(byte[] littleEndian) {
        byte[] bigEndian = new byte[littleEndian.length + 1];
        for (int i = 0; i < littleEndian.length; i++) {
            bigEndian[bigEndian.length - 1 - i] = littleEndian[i];
        }
        bigEndian[0] = (byte) (littleEndian.length > 0 && littleEndian[littleEndian.length - 1] < 0 ? -1 : 0);
        BigInteger number = new BigInteger(bigEndian);
        return number.bitLength() < Long.SIZE ? (Object) number.longValueExact() : number;
    }

    private Object remembered(int index) {
        Object value = memo.get(index);
        if (value == null) {
            throw in.damaged("it remembers value %d, which was never kept".formatted(index));
        }
        return value;
    }

    /** {@code ('storage', type, key, device, elements)}, and in old files a view, which must be None. */
    private Storage storage(Object id) {
        boolean whole = id instanceof Tuple tuple
                && (tuple.size() == 5 || (tuple.size() == 6 && tuple.get(5) == NONE))
                && "storage".equals(tuple.get(0));
        if (!whole) {
            throw in.refused("it refers to something outside of itself that is no storage of a tensor");
        }
        Tuple parts = (Tuple) id;
        if (parts.get(1) instanceof TorchGlobal type
                && type.elements() != null
                && parts.get(2) instanceof String key
                && parts.get(4) instanceof Long elements) {
            return new Storage(type.elements(), key, elements);
        }
        throw in.damaged("a storage is not described by a type, a name and a number of elements");
    }

    private void reduce() {
        Object arguments = pop();
        Object function = pop();
        if (!(function instanceof TorchGlobal global) || !(arguments instanceof Tuple tuple)) {
            throw in.damaged("it calls something that is no function");
        }
        stack.add(
                switch (global.role()) {
                    case DICT -> emptyDict(tuple);
                    case TENSOR -> view(tuple);
                    case PARAMETER -> parameter(tuple);
                    case STORAGE -> throw in.refused("it makes a %s by itself".formatted(global));
                });
    }

    private Object emptyDict(Tuple arguments) {
        if (arguments.size() != 0) {
            throw in.refused("it makes a collections.OrderedDict of something; torch.save fills an empty one");
        }
        return new LinkedHashMap<>();
    }

    /** {@code (storage, offset, shape, stride, ...)}: what follows concerns gradients. */
    private View view(Tuple arguments) {
        if (arguments.size() >= 4
                && arguments.get(0) instanceof Storage storage
                && arguments.get(1) instanceof Long offset
                && arguments.get(2) instanceof Tuple shape
                && arguments.get(3) instanceof Tuple stride) {
            return new View(storage, offset, numbers(shape), numbers(stride));
        }
        throw in.damaged("a tensor is not described by a storage, an offset, a shape and strides");
    }

    private long[] numbers(Tuple tuple) {
        if (tuple.size() > TorchPickleFile.MAX_AXES) {
            throw in.damaged("a tensor has %d axes, more than %d".formatted(tuple.size(), TorchPickleFile.MAX_AXES));
        }
        long[] numbers = new long[tuple.size()];
        for (int i = 0; i < numbers.length; i++) {
            if (!(tuple.get(i) instanceof Long number)) {
                throw in.damaged("a shape or stride is no list of whole numbers");
            }
            numbers[i] = number;
        }
        return numbers;
    }

    private Object parameter(Tuple arguments) {
        if (arguments.size() < 1 || !(arguments.get(0) instanceof View view)) {
            throw in.damaged("a parameter is made of something that is no tensor");
        }
        return view;
    }

    /** Attributes of a dict ({@code _metadata}) or of a tensor say nothing about weights: they are dropped. */
    private void build() {
        pop();
        Object target = peek();
        if (!(target instanceof Map) && !(target instanceof View)) {
            throw in.refused("it sets attributes of something that is neither a dict nor a tensor");
        }
    }

    @SuppressWarnings("unchecked") // every List on the stack was made above
    private void append(List<Object> values) {
        if (!(peek() instanceof List<?> list)) {
            throw in.damaged("it appends to something that is no list");
        }
        ((List<Object>) list).addAll(values);
    }

    /** Keys are texts or numbers, whose hash does not walk into other values. */
    @SuppressWarnings("unchecked") // every Map on the stack was made above
    private void putAll(List<Object> keysAndValues) {
        if (!(peek() instanceof Map<?, ?> map) || keysAndValues.size() % 2 != 0) {
            throw in.damaged("it puts entries into something that is no dict");
        }
        for (int i = 0; i < keysAndValues.size(); i += 2) {
            Object key = keysAndValues.get(i);
            if (!(key instanceof String) && !(key instanceof Long)) {
                throw in.refused("a dict has a key that is neither a text nor a whole number");
            }
            ((Map<Object, Object>) map).put(key, keysAndValues.get(i + 1));
        }
    }
}
