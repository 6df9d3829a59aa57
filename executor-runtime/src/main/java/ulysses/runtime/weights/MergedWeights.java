package ulysses.runtime.weights;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A model with an adapter merged into it, as PEFT's {@code merge_and_unload} does: W + scaling * B A, the product in float32, the sum
 * rounded to the type of the weights. Plain Java; computed as it is read, so no more than one module's A and B are held. For one
 * thread.
 */
public final class MergedWeights implements FloatWeights {
    private final FloatWeights base;
    private final ModelSpec model;
    private final LoraSpec lora;
    private final FloatWeights adapter;
    private final DataType type;
    private final Set<String> adapted;
    private final Set<String> copies = new HashSet<>();
    private @Nullable Product last;

    /**
     * Merges {@code adapter} into {@code base}.
     *
     * @param model the shape of {@code base}
     * @param type of the weights: {@code base} is rounded to it before, the sum after
     */
    public MergedWeights(FloatWeights base, ModelSpec model, LoraSpec lora, FloatWeights adapter, DataType type) {
        this.base = base;
        this.model = model;
        this.lora = lora;
        this.adapter = adapter;
        this.type = type;
        this.adapted = Set.copyOf(lora.adapted(model));
        lora.parameters(model).forEach(parameter -> copies.add(parameter.name()));
    }

    /** A [r,in] and B [out,r] of one module. */
    @SuppressWarnings("ArrayRecordComponent") // a carrier, never compared
    private record Product(String module, float[] a, float[] b, int columns) {}

    /** The shape of {@code model} merged with {@code lora}: a tied head whose one side the adapter brings is tied no more. */
    public static ModelSpec shape(ModelSpec model, LoraSpec lora) {
        boolean parts = lora.saved(model).stream()
                .anyMatch(module -> module.equals(LoraSpec.moduleOf(ModelSpec.EMBEDDING))
                        || module.equals(LoraSpec.moduleOf(ModelSpec.HEAD)));
        return model.tiedHead() && parts ? model.withUntiedHead() : model;
    }

    @Override
    public void readFloat32(String name, long firstElement, ByteBuffer into) {
        ByteBuffer values = into.slice().order(ByteOrder.LITTLE_ENDIAN);
        if (copies.contains(LoraSpec.copyOf(name))) {
            adapter.readFloat32(LoraSpec.copyOf(name), firstElement, into);
        } else {
            boolean tied = model.tiedHead() && name.equals(ModelSpec.HEAD);
            base.readFloat32(tied ? ModelSpec.EMBEDDING : name, firstElement, into);
        }
        round(values);
        String module = LoraSpec.moduleOf(name);
        if (adapted.contains(module) && name.endsWith(".weight")) {
            add(product(module), firstElement, values);
        }
    }

    private void round(ByteBuffer values) {
        for (int i = 0; type != DataType.F32 && i < values.limit(); i += Float.BYTES) {
            values.putFloat(i, FloatFormat.rounded(type, values.getFloat(i)));
        }
    }

    private void add(Product product, long firstElement, ByteBuffer values) {
        int columns = product.columns();
        float scaling = (float) lora.scaling();
        float[] sums = new float[columns];
        int count = values.limit() / Float.BYTES;
        for (int done = 0; done < count; ) {
            int row = Math.toIntExact((firstElement + done) / columns);
            int from = Math.toIntExact((firstElement + done) % columns);
            int to = Math.min(columns, from + count - done);
            rowOf(product, row, from, to, sums);
            for (int column = from; column < to; column++, done++) {
                float sum = values.getFloat(done * Float.BYTES) + sums[column] * scaling;
                values.putFloat(done * Float.BYTES, FloatFormat.rounded(type, sum));
            }
        }
    }

    private void rowOf(Product product, int row, int from, int to, float[] sums) {
        Arrays.fill(sums, 0);
        for (int r = 0; r < lora.rank(); r++) {
            float factor = product.b()[row * lora.rank() + r];
            int offset = r * product.columns();
            for (int column = from; column < to; column++) {
                sums[column] += factor * product.a()[offset + column];
            }
        }
    }

    private Product product(String module) {
        Product product = last;
        if (product == null || !product.module().equals(module)) {
            ParameterSpec weight = model.parameters().stream()
                    .filter(parameter -> parameter.name().equals(module + ".weight"))
                    .findFirst()
                    .orElseThrow();
            int rows = Math.toIntExact(weight.shape()[0]);
            int columns = Math.toIntExact(weight.shape()[1]);
            product = new Product(
                    module,
                    floats(LoraSpec.lowRankA(module), lora.rank() * columns),
                    floats(LoraSpec.lowRankB(module), rows * lora.rank()),
                    columns);
            last = product;
        }
        return product;
    }

    private float[] floats(String name, int elements) {
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(elements, Float.BYTES));
        adapter.readFloat32(name, 0, bytes);
        float[] values = new float[elements];
        bytes.flip().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
        return values;
    }
}
