package ulysses.runtime.model;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.RopeScaling;

/**
 * Rotary position embedding: {@code x cos + [-x2, x1] sin} with x1, x2 the halves of a head (RoFormer, arXiv:2104.09864, in Hugging
 * Face's layout). Angles are float32 products of float32 factors, in the order of transformers, so that long rows agree with it.
 */
public final class RotaryEmbedding {

    private final ModelSpec spec;

    /** For heads of {@code spec}. */
    public RotaryEmbedding(ModelSpec spec) {
        this.spec = spec;
    }

    /** cos and sin [s,1,H] of a micro-batch's tokens, in the compute dtype. */
    public record Rotation(Tensor cos, Tensor sin) {

        /** Rotates heads [s,heads,H]. */
        public Tensor apply(Tensor x) {
            Tensor result = torch.empty_like(x);
            apply(x, result);
            return result;
        }

        /** Rotates heads {@code x} [s,heads,H] into {@code result} of the same shape. */
        void apply(Tensor x, Tensor result) {
            rotate(x, result, 1);
        }

        /** Backward of {@link #apply}: the rotation by the negative angle. */
        public Tensor backward(Tensor dRotated) {
            Tensor result = torch.empty_like(dRotated);
            rotate(dRotated, result, -1);
            return result;
        }

        private void rotate(Tensor x, Tensor result, double direction) {
            long half = x.size(2) / 2;
            Tensor first = x.narrow(2, 0, half); // [s,heads,H/2]
            Tensor second = x.narrow(2, half, half);
            turn(first, second, result.narrow(2, 0, half), 0, -direction);
            turn(second, first, result.narrow(2, half, half), half, direction);
        }

        private void turn(Tensor x, Tensor other, Tensor result, long offset, double sign) {
            long half = x.size(2);
            torch.mul_out(result, x, cos.narrow(2, offset, half))
                    .addcmul_(other, sin.narrow(2, offset, half), new Scalar(sign));
        }
    }

    /**
     * Rotation of tokens at {@code positions}; it belongs to the caller's scope. {@code longestDocument} matters to dynamic scaling
     * only.
     */
    public Rotation at(int[] positions, int longestDocument, Tensor like) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor inverse = torch.tensor(inverseFrequencies(longestDocument))
                    .to(like.device(), torch.ScalarType.Float)
                    .unsqueeze(0); // [1,H/2]
            Tensor position = torch.tensor(positions)
                    .to(like.device(), torch.ScalarType.Float)
                    .unsqueeze(1); // [s,1]
            Tensor angle = position.mul(inverse); // [s,H/2]
            Tensor angles = torch.cat(new TensorVector(angle, angle), 1).unsqueeze(1); // [s,1,H]
            Scalar factor = new Scalar(attentionFactor());
            Tensor cos = angles.cos().mul_(factor).to(like.options(), false, true, null);
            Tensor sin = angles.sin().mul_(factor).to(like.options(), false, true, null);
            return new Rotation(scope.keep(cos), scope.keep(sin));
        }
    }

    /** Factor on cos and sin: 1 but for yarn. */
    public double attentionFactor() {
        return spec.ropeScaling() instanceof RopeScaling.Yarn yarn ? yarn.attentionFactor() : 1.0;
    }

    /** Frequencies [H/2] in radians a token, float32, for a sequence whose longest document has {@code length} tokens. */
    public float[] inverseFrequencies(int length) {
        RopeScaling scaling = spec.ropeScaling();
        double theta = spec.ropeTheta();
        if (scaling instanceof RopeScaling.Dynamic dynamic && length > dynamic.maxPositions()) {
            double h = spec.headSize();
            float grown = (float) dynamic.factor() * length / dynamic.maxPositions() - (float) (dynamic.factor() - 1);
            theta = (float) theta * (float) Math.pow(grown, (float) (h / (h - 2)));
        }
        float[] inverse = new float[spec.headSize() / 2];
        for (int i = 0; i < inverse.length; i++) {
            float exponent = (float) (2 * i) / (float) spec.headSize();
            float wave = (float) Math.pow(theta, exponent); // over 2 pi
            inverse[i] = scaled(wave, i, scaling);
        }
        return inverse;
    }

    private float scaled(float wave, int i, RopeScaling scaling) {
        float inverse = 1 / wave;
        if (scaling instanceof RopeScaling.Linear linear) {
            return inverse / (float) linear.factor();
        } else if (scaling instanceof RopeScaling.Llama3 llama3) {
            return llama3(inverse, llama3);
        } else if (scaling instanceof RopeScaling.Yarn yarn) {
            float kept = 1 - ramp(i, yarn);
            return 1 / ((float) yarn.factor() * wave) * (1 - kept) + inverse * kept;
        }
        return inverse;
    }

    private static float llama3(float inverse, RopeScaling.Llama3 scaling) {
        float length = 1 / inverse * (float) (2 * Math.PI); // of the wave, in tokens
        float factor = (float) scaling.factor();
        double original = scaling.originalPositions();
        if (length < (float) (original / scaling.highFrequencyFactor())) {
            return inverse;
        } else if (length > (float) (original / scaling.lowFrequencyFactor())) {
            return inverse / factor;
        }
        float turns = 1 / length * (float) original;
        float smooth = (turns - (float) scaling.lowFrequencyFactor())
                / (float) (scaling.highFrequencyFactor() - scaling.lowFrequencyFactor());
        return (1 - smooth) * inverse / factor + smooth * inverse;
    }

    /** 0 where a frequency is kept, 1 where it is divided. */
    private float ramp(int i, RopeScaling.Yarn scaling) {
        double low = rotationAxis(scaling.betaFast(), scaling);
        double high = rotationAxis(scaling.betaSlow(), scaling);
        if (scaling.truncate()) {
            low = Math.floor(low);
            high = Math.ceil(high);
        }
        low = Math.max(low, 0);
        high = Math.min(high, spec.headSize() - 1);
        double width = high == low ? 0.001 : high - low; // transformers keeps the ramp from dividing by zero alike
        return Math.min(1, Math.max(0, (i - (float) low) / (float) width));
    }

    /** The axis whose wave turns {@code rotations} times over the original positions. */
    private double rotationAxis(double rotations, RopeScaling.Yarn scaling) {
        return spec.headSize()
                * Math.log(scaling.originalPositions() / (rotations * 2 * Math.PI))
                / (2 * Math.log(spec.ropeTheta()));
    }
}
