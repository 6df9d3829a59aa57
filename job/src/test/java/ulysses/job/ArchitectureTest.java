package ulysses.job;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** The walls of this module: command line and wiring only. ArchUnit checks every field that is a rule. */
@AnalyzeClasses(packages = "ulysses.job", importOptions = ImportOption.DoNotIncludeTests.class)
final class ArchitectureTest {

    @ArchTest
    static final ArchRule NATIVE_CODE_IS_NEVER_HERE = noClasses()
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage(
                    "org.bytedeco..",
                    "ulysses.runtime.memory..",
                    "ulysses.runtime.collective..",
                    "ulysses.runtime.segment..",
                    "ulysses.runtime.attention..",
                    "ulysses.runtime.model..",
                    "ulysses.runtime.objective..",
                    "ulysses.runtime.gradient..",
                    "ulysses.runtime.optimizer..",
                    "ulysses.runtime.training..");

    @ArchTest
    static final ArchRule NAMES_SAY_WHAT_A_CLASS_DOES =
            noClasses().should().haveNameMatching(".*(Manager|Engine|Utils?|Helpers?|Common|Base|Misc)");

    /** Commands print to the stream that {@code Main} hands them, so that tests see what a user sees. */
    @ArchTest
    static final ArchRule ONLY_MAIN_KNOWS_STANDARD_OUTPUT = noClasses()
            .that()
            .doNotHaveFullyQualifiedName("ulysses.job.Main")
            .should()
            .accessField(System.class, "out");

    /** Besides {@code Main}'s messages, standard error takes what the ranks of a benchmark log. */
    @ArchTest
    static final ArchRule ONLY_MAIN_AND_BENCH_WRITE_TO_STANDARD_ERROR = noClasses()
            .that()
            .doNotHaveFullyQualifiedName("ulysses.job.Main")
            .and()
            .doNotHaveFullyQualifiedName("ulysses.job.BenchCommand")
            .should()
            .accessField(System.class, "err");
}
