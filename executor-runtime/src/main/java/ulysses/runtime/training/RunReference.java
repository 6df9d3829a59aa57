package ulysses.runtime.training;

import java.io.IOException;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.bytedeco.pytorch.Device;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.ProcessGroups;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.PreferenceConfig;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.RankBatches;
import ulysses.runtime.memory.StateHome;
import ulysses.runtime.model.CausalLm;
import ulysses.runtime.model.InitialWeights;
import ulysses.runtime.model.ParameterSharing;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.objective.Reference;
import ulysses.runtime.objective.ReferenceModel;
import ulysses.runtime.objective.StoredReference;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterPlan;
import ulysses.runtime.weights.TunedModel;
import ulysses.runtime.weights.WeightIndex;
import ulysses.runtime.weights.WeightsException;

/**
 * What the preferences of a run are measured against. Holds a second model for the run, unless the policy without its adapter is
 * the reference, or log-probabilities were computed beforehand.
 */
final class RunReference implements AutoCloseable {
    private final TrainingConfig config;
    private final Start start;
    private final CausalLm policy;
    private final ProcessGroups groups;
    private @Nullable ParameterSharing held;

    /** The model that training starts from, how it is trained, and where it computes. */
    record Start(ModelDirectory source, TunedModel tuned, Device device, Configuration hadoop) {}

    /**
     * Prepared rows.
     *
     * @param folder where they lie
     * @param batches all of them once, in their order
     */
    record RowSet(String folder, RankBatches batches) {}

    /** Nothing is loaded yet; {@code groups} are those of {@code policy}. */
    RunReference(TrainingConfig config, Start start, CausalLm policy, ProcessGroups groups) {
        this.config = config;
        this.start = start;
        this.policy = policy;
        this.groups = groups;
    }

    /** Ranks that share each sequence. */
    Collectives group() {
        return groups.sequenceParallel();
    }

    /**
     * What {@code preference} compares with, if anything. Collective over all ranks.
     *
     * @param sets the rows of the run
     */
    Optional<Reference> open(PreferenceConfig preference, List<RowSet> sets, Agreement agreement, RankReporter reporter)
            throws IOException {
        if (!preference.loss().comparesWithReference()) {
            return Optional.empty();
        }
        Optional<String> other = Optional.ofNullable(preference.refModel());
        return Optional.of(
                preference.precomputed() ? stored(other, sets, agreement, reporter) : model(other, reporter));
    }

    /** The model as a reference, loaded now. */
    private Reference model(Optional<String> other, RankReporter reporter) throws IOException {
        if (other.isEmpty() && policy.withoutAdapters() != policy) {
            return new ReferenceModel(policy.withoutAdapters(), group());
        }
        ModelDirectory source = source(other);
        ModelSpec spec = other.isEmpty() ? start.tuned().spec() : TunedModel.shape(config, source.spec());
        int vocabulary = start.tuned().spec().vocabularySize();
        if (spec.vocabularySize() != vocabulary) {
            throw new WeightsException(
                    "ref_model %s has vocab_size %d, but model_name_or_path has %d; both need the same tokenizer"
                            .formatted(source.folder().path(), spec.vocabularySize(), vocabulary));
        }
        Parameters parameters = new Parameters(
                ParameterPlan.frozen(spec),
                config.model().computeType(),
                start.device(),
                policy.parameters().sharding(),
                StateHome.on(start.device()));
        ParameterSharing sharing = new ParameterSharing(parameters, groups.world());
        held = sharing;
        InitialWeights weights = new InitialWeights(spec, parameters, reporter::progress);
        if (isDrawn(other)) {
            weights.draw(config.step().seed());
        } else {
            try (WeightIndex files = source.weights()) {
                weights.load(files);
            }
        }
        CausalLm.Layers how = new CausalLm.Layers(config.parallel().device(), ActivationMemory.NONE)
                .overlapping(config.parallel().overlapsExchange());
        return new ReferenceModel(new CausalLm(spec, sharing, Optional.empty(), how, group()), group());
    }

    private ModelDirectory source(Optional<String> other) {
        return other.map(path -> ModelDirectory.open(path, start.hadoop())).orElse(start.source());
    }

    private boolean isDrawn(Optional<String> other) {
        return other.isEmpty() && config.model().trainFromScratch();
    }

    /**
     * What the model says about all documents of {@code sets}: read where it was stored, else computed, stored beside the rows, and
     * the model closed. Collective over all ranks.
     */
    private Reference stored(Optional<String> other, List<RowSet> sets, Agreement agreement, RankReporter reporter)
            throws IOException {
        String own = reporter.rank() == 0 ? fingerprint(other) : "";
        String name = "reference_logps-%s.bin".formatted(agreement.gather(own).get(0));
        StoredReference.Collected all = new StoredReference.Collected();
        try {
            for (RowSet set : sets) {
                Folder folder = Folder.at(set.folder(), start.hadoop());
                Optional<StoredReference> found = StoredReference.read(folder, name);
                double missing = found.isPresent() && knowsAll(found.get(), set.batches()) ? 0 : 1;
                if (agreement.sum(missing) == 0) {
                    all.addAll(found.orElseThrow());
                    continue;
                }
                StoredReference computed = computed(other, set.batches(), agreement, reporter);
                if (reporter.rank() == 0) {
                    computed.write(folder, name);
                }
                all.addAll(computed);
            }
        } finally {
            close();
        }
        return all.stored();
    }

    private static boolean knowsAll(StoredReference stored, RankBatches batches) throws IOException {
        for (long step = 0; step < batches.stepsPerEpoch(); step++) {
            for (MicroBatch batch : batches.step(step).microBatches()) {
                if (!stored.knows(batch)) {
                    return false;
                }
            }
        }
        return true;
    }

    private StoredReference computed(
            Optional<String> other, RankBatches batches, Agreement agreement, RankReporter reporter)
            throws IOException {
        Reference model = model(other, reporter);
        StoredReference.Collected own = new StoredReference.Collected();
        for (long step = 0; step < batches.stepsPerEpoch(); step++) {
            reporter.phase("reference", step);
            for (MicroBatch batch : batches.step(step).microBatches()) {
                double[] sums = model.documentSums(batch);
                if (group().rank() == 0) { // the same on all ranks of the group
                    own.add(batch, sums);
                }
            }
        }
        close();
        StoredReference.Collected all = new StoredReference.Collected();
        agreement.gather(own.entries()).forEach(all::addAll);
        return all.stored();
    }

    private String fingerprint(Optional<String> other) {
        if (isDrawn(other)) {
            return ReferenceFingerprint.ofDrawn(config, start.source().spec());
        }
        ModelDirectory source = source(other);
        return ReferenceFingerprint.of(
                config, source, other.isEmpty() ? start.tuned() : TunedModel.full(source.spec()));
    }

    @Override
    public void close() {
        if (held != null) {
            held.close();
            held.parameters().close();
            held = null;
        }
    }
}
