package ulysses.job;

import com.sun.management.OperatingSystemMXBean;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.hub.ModelHub;
import ulysses.driver.plan.HardwareProfile;
import ulysses.driver.plan.HardwareProfile.Machine;
import ulysses.driver.plan.PlanSearch;
import ulysses.driver.plan.RunPlan;
import ulysses.driver.plan.RunShape;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.TunedModel;

/**
 * {@code plan F [--hardware NAME]}: memory, communication and time of a run on the device that is named, or the run's own, and one line
 * for every other device of conf/hardware.yaml. Starts nothing: no GPU, no Spark.
 */
final class PlanCommand {
    private static final String HARDWARE = "hardware";

    private PlanCommand() {}

    static int run(
            CommandLine commandLine,
            Map<String, String> sparkConf,
            Configuration hadoop,
            Map<String, String> environment,
            PrintStream out)
            throws InterruptedException {
        CommandOptions options = CommandOptions.of(commandLine, List.of(HARDWARE));
        ConfigFile.Loaded loaded = ConfigFile.load(options.rest().sources(sparkConf), hadoop);
        TrainingConfig config =
                new ModelFolders(environment, hadoop, out).in(loaded.config(), ModelHub.Parts.MODEL_WITHOUT_WEIGHTS);
        ModelSpec model =
                ModelDirectory.open(config.model().modelNameOrPath(), hadoop).spec();
        int group = config.parallel().sequenceParallelSize();
        if (group > model.heads()) {
            throw new ConfigException(
                    commandLine.requireFile(),
                    List.of("sequence_parallel_size %d is more than num_attention_heads %d; use at most %d"
                            .formatted(group, model.heads(), model.heads())));
        }
        loaded.notes().forEach(note -> out.println("note: " + note));
        RunShape shape = RunShape.of(config, TunedModel.of(config, model, hadoop));
        List<RunPlan> plans = plans(shape);
        PlanText text = new PlanText(config, out);
        RunPlan chosen = chosen(
                options.text(HARDWARE)
                        .or(() ->
                                Optional.ofNullable(config.output().reporting().hardware())),
                shape.device(),
                plans);
        text.details(chosen);
        if (chosen.refusal().isEmpty()) {
            text.best(PlanSearch.of(chosen.shape(), chosen.hardware()), chosen);
        }
        text.others(plans.stream().filter(plan -> !plan.equals(chosen)).toList());
        text.assumptions();
        return 0;
    }

    private static Machine thisMachine() {
        return new Machine(
                Runtime.getRuntime().availableProcessors(),
                ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getTotalMemorySize());
    }

    /** The plan of a run whose ranks all compute on this machine's processor. */
    static RunPlan onThisMachine(RunShape shape) {
        HardwareProfile processor = HardwareProfile.all().stream()
                .filter(HardwareProfile::isCpu)
                .findFirst()
                .orElseThrow();
        return RunPlan.of(
                shape.on(Device.CPU),
                processor.shareOf(thisMachine(), shape.mesh().ranks()));
    }

    private static List<RunPlan> plans(RunShape shape) {
        Machine machine = thisMachine();
        return HardwareProfile.all().stream()
                .map(hardware -> RunPlan.of(
                        shape.on(hardware.isCpu() ? Device.CPU : Device.CUDA),
                        hardware.shareOf(machine, shape.mesh().ranks())))
                .toList();
    }

    /** The device that was named, here or in the configuration, else the run's own: the CPU, or the first GPU of the file. */
    private static RunPlan chosen(Optional<String> wanted, Device device, List<RunPlan> plans) {
        String name = wanted.map(HardwareProfile::of).map(HardwareProfile::name).orElse("");
        return plans.stream()
                .filter(plan -> name.isEmpty()
                        ? plan.shape().device() == device
                        : plan.hardware().name().equals(name))
                .findFirst()
                .orElseThrow(() -> new ConfigException(
                        "hardware.yaml", List.of("it has no entry for device %s; add one".formatted(device))));
    }
}
