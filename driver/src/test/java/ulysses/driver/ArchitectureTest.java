package ulysses.driver;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackages;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** The walls of this module: Spark is here, native code is not. ArchUnit checks every field that is a rule. */
@AnalyzeClasses(packages = "ulysses.driver", importOptions = ImportOption.DoNotIncludeTests.class)
final class ArchitectureTest {

    @ArchTest
    static final ArchRule NATIVE_CODE_IS_NEVER_HERE =
            noClasses().should().dependOnClassesThat().resideInAPackage("org.bytedeco..");

    /** A rank process is known by its name only: see {@code launch.RankCommand}. */
    @ArchTest
    static final ArchRule ONLY_PACKAGES_WITHOUT_NATIVE_CODE_ARE_USED = noClasses()
            .should()
            .dependOnClassesThat(resideInAPackage("ulysses.runtime..")
                    .and(resideOutsideOfPackages(
                            "ulysses.runtime.config..",
                            "ulysses.runtime.data..",
                            "ulysses.runtime.mesh..",
                            "ulysses.runtime.weights..",
                            "ulysses.runtime.checkpoint..",
                            "ulysses.runtime.export..")));

    @ArchTest
    static final ArchRule THE_COMMAND_LINE_IS_ABOVE =
            noClasses().should().dependOnClassesThat().resideInAPackage("ulysses.job..");

    @ArchTest
    static final ArchRule PACKAGES_HAVE_NO_CYCLES =
            slices().matching("ulysses.driver.(*)..").should().beFreeOfCycles();

    @ArchTest
    static final ArchRule NAMES_SAY_WHAT_A_CLASS_DOES =
            noClasses().should().haveNameMatching(".*(Manager|Engine|Utils?|Helpers?|Common|Base|Misc)");

    @ArchTest
    static final ArchRule NOTHING_PRINTS = noClasses().should().accessField(System.class, "out");

    /** What a rank says to standard error goes to the log file of its executor, which is that stream. */
    @ArchTest
    static final ArchRule ONLY_THE_SUPERVISOR_OF_A_RANK_WRITES_TO_STANDARD_ERROR = noClasses()
            .that()
            .haveNameNotMatching("ulysses.driver.launch.RankTask(\\$.*)?")
            .should()
            .accessField(System.class, "err");
}
