package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import ulysses.job.CommandLine.Command;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.ParallelConfig.Device;

class CommandLineTest {

    @ParameterizedTest(name = "[{index}] {0}")
    @MethodSource("good")
    void understands(String typed, CommandLine expected) {
        CommandLine parsed = CommandLine.parse(words(typed), Map.of());

        assertThat(parsed).isEqualTo(expected);
        assertThat(List.copyOf(parsed.overrides().keySet()))
                .isEqualTo(List.copyOf(expected.overrides().keySet()));
    }

    static Stream<Arguments> good() {
        return Stream.of(
                good("--config_file f.yaml", line(Command.TRAIN, 1)),
                good("--config-file f.yaml", line(Command.TRAIN, 1)),
                good("--config_file=f.yaml", line(Command.TRAIN, 1)),
                good("f.yaml", line(Command.TRAIN, 1)),
                good("conf/f", new CommandLine(Command.TRAIN, "conf/f", Map.of(), false, 1)),
                good("train f.yaml", line(Command.TRAIN, 1)),
                good("train --config_file f.yaml", line(Command.TRAIN, 1)),
                good("prepare f.yaml", line(Command.PREPARE, 1)),
                good("plan f.yaml", line(Command.PLAN, 1)),
                good("check-config f.yaml", line(Command.CHECK_CONFIG, 1)),
                good("export f.yaml", line(Command.EXPORT, 1)),
                good(
                        "inspect out/checkpoint-5",
                        new CommandLine(Command.INSPECT, "out/checkpoint-5", Map.of(), false, 1)),
                good("status --json out", new CommandLine(Command.STATUS, "out", Map.of("json", "true"), false, 1)),
                good(
                        "status --json false out",
                        new CommandLine(Command.STATUS, "out", Map.of("json", "false"), false, 1)),
                good("inspect --full out", new CommandLine(Command.INSPECT, "out", Map.of("full", "true"), false, 1)),
                good("inspect", new CommandLine(Command.INSPECT, null, Map.of(), false, 1)),
                good("bench lengths=1,2", new CommandLine(Command.BENCH, null, Map.of("lengths", "1,2"), false, 1)),
                good("help", new CommandLine(Command.HELP, null, Map.of(), false, 1)),
                good("", new CommandLine(Command.HELP, null, Map.of(), false, 1)),
                good("train --help", new CommandLine(Command.HELP, null, Map.of(), false, 1)),
                good("-h", new CommandLine(Command.HELP, null, Map.of(), false, 1)),
                good("f.yaml --debug", new CommandLine(Command.TRAIN, "f.yaml", Map.of(), true, 1)),
                good("--debug f.yaml", new CommandLine(Command.TRAIN, "f.yaml", Map.of(), true, 1)),
                good("f.yaml --debug=false", line(Command.TRAIN, 1)),
                good("f.yaml --adjust-lr", line(Command.TRAIN, 1)),
                good("f.yaml --adjust-lr 0.5", line(Command.TRAIN, 0.5)),
                good("f.yaml --adjust-lr=2", line(Command.TRAIN, 2)),
                good("f.yaml --adjust_lr 1e-1", line(Command.TRAIN, 0.1)),
                good("--adjust-lr f.yaml", line(Command.TRAIN, 1)),
                good("--adjust-lr --config_file f.yaml", line(Command.TRAIN, 1)),
                good("f.yaml --adjust-lr a=b", line(Command.TRAIN, 1, "a", "b")),
                good("f.yaml --max_steps -1", line(Command.TRAIN, 1, "max_steps", "-1")),
                good("f.yaml --learning_rate 1e-4", line(Command.TRAIN, 1, "learning_rate", "1e-4")),
                good("f.yaml --learning_rate=1e-4", line(Command.TRAIN, 1, "learning_rate", "1e-4")),
                good("f.yaml learning_rate=1e-4", line(Command.TRAIN, 1, "learning_rate", "1e-4")),
                good("f.yaml a= --b=", line(Command.TRAIN, 1, "a", "", "b", "")),
                good("f.yaml a=x=y", line(Command.TRAIN, 1, "a", "x=y")),
                good("f.yaml --bf16", line(Command.TRAIN, 1, "bf16", "true")),
                good("f.yaml --bf16 --fp16 false", line(Command.TRAIN, 1, "bf16", "true", "fp16", "false")),
                good("f.yaml a=1 b=2 a=3", line(Command.TRAIN, 1, "b", "2", "a", "3")),
                good("hdfs://n/f.yaml", new CommandLine(Command.TRAIN, "hdfs://n/f.yaml", Map.of(), false, 1)),
                good(
                        "--config_file f.yaml --debug --adjust-lr 1.5 --pref_beta 0.15 --lr_scheduler_type cosine",
                        new CommandLine(
                                Command.TRAIN,
                                "f.yaml",
                                line(Command.TRAIN, 1, "pref_beta", "0.15", "lr_scheduler_type", "cosine")
                                        .overrides(),
                                true,
                                1.5)));
    }

    @ParameterizedTest(name = "[{index}] {0}")
    @MethodSource("bad")
    void saysExactlyWhatIsWrong(String typed, List<String> problems) {
        ConfigException exception =
                assertThrows(ConfigException.class, () -> CommandLine.parse(words(typed), Map.of()));

        assertThat(exception.problems()).isEqualTo(problems);
    }

    static Stream<Arguments> bad() {
        String commands = "train, prepare, plan, check-config, export, inspect, status, bench, help";
        return Stream.of(
                bad("trian f.yaml", "command trian does not exist; use one of " + commands),
                bad("train", "train needs a configuration file; write --config_file FILE"),
                bad("--debug", "train needs a configuration file; write --config_file FILE"),
                bad("check-config a=b", "check-config needs a configuration file; write --config_file FILE"),
                bad("f.yaml --config_file g.yaml", "--config_file g.yaml is a second file after f.yaml; keep one"),
                bad("f.yaml g.yaml", "g.yaml is left over, since the file is f.yaml; write --key g.yaml or key=g.yaml"),
                bad("--config_file", "--config_file has no value; write --config_file FILE"),
                bad(
                        "f.yaml -x 1",
                        "-x is no option; write --key value or key=value",
                        "1 is left over, since the file is f.yaml; write --key 1 or key=1"),
                bad("f.yaml --adjust-lr 0", "--adjust-lr 0 is not a finite number > 0; write one, such as 0.5"),
                bad("f.yaml --adjust-lr -0.5", "--adjust-lr -0.5 is not a finite number > 0; write one, such as 0.5"),
                bad("f.yaml --adjust-lr NaN", "--adjust-lr NaN is not a finite number > 0; write one, such as 0.5"),
                bad("f.yaml --adjust-lr fast", "--adjust-lr fast is not a finite number > 0; write one, such as 0.5"),
                bad("f.yaml --adjust-lr=", "--adjust-lr '' is not a finite number > 0; write one, such as 0.5"),
                bad("f.yaml --debug=maybe", "--debug maybe is not true or false; write --debug alone"));
    }

    @Test
    void environmentAdjustsTheLearningRateUnlessTheOptionDoes() {
        Map<String, String> environment = Map.of("ULYSSES_ADJUST_LR", "0.25");

        assertThat(CommandLine.parse(words("f.yaml"), environment).learningRateFactor())
                .isEqualTo(0.25);
        assertThat(CommandLine.parse(words("f.yaml --adjust-lr 2"), environment).learningRateFactor())
                .isEqualTo(2);
        assertThat(CommandLine.parse(words("f.yaml --adjust-lr"), environment).learningRateFactor())
                .isEqualTo(1);
        assertThat(CommandLine.parse(words("f.yaml"), Map.of("ULYSSES_ADJUST_LR", " "))
                        .learningRateFactor())
                .isEqualTo(1);
        ConfigException exception = assertThrows(
                ConfigException.class, () -> CommandLine.parse(words("f.yaml"), Map.of("ULYSSES_ADJUST_LR", "-1")));
        assertThat(exception.problems())
                .containsExactly("ULYSSES_ADJUST_LR -1 is not a finite number > 0; write one, such as 0.5");
    }

    @Test
    void gpusOfSparkMakeCudaTheDefaultDevice() {
        CommandLine line = line(Command.TRAIN, 1);

        assertThat(line.sources(Map.of()).defaultDevice()).isEqualTo(Device.CPU);
        assertThat(line.sources(Map.of("spark.task.resource.gpu.amount", "1")).defaultDevice())
                .isEqualTo(Device.CUDA);
        assertThat(line.sources(Map.of("spark.executor.resource.gpu.amount", "0"))
                        .defaultDevice())
                .isEqualTo(Device.CPU);
    }

    @Test
    void helpNamesEveryCommand() {
        assertThat(Command.values())
                .allSatisfy(command -> assertThat(CommandLine.HELP).contains("  " + command.word() + " "));
    }

    private static Arguments good(String typed, CommandLine expected) {
        return arguments(typed, expected);
    }

    private static Arguments bad(String typed, String... problems) {
        return arguments(typed, List.of(problems));
    }

    private static CommandLine line(Command command, double factor, String... keysAndValues) {
        Map<String, String> overrides = new LinkedHashMap<>();
        for (int i = 0; i < keysAndValues.length; i += 2) {
            overrides.put(keysAndValues[i], keysAndValues[i + 1]);
        }
        return new CommandLine(command, "f.yaml", overrides, false, factor);
    }

    private static List<String> words(String typed) {
        return typed.isEmpty() ? List.of() : List.of(typed.split(" ", -1));
    }
}
