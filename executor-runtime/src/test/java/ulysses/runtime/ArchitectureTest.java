package ulysses.runtime;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;
import java.util.ArrayList;
import java.util.List;

/** The walls of this module: who may import whom, and where native code may be. */
@AnalyzeClasses(packages = "ulysses.runtime", importOptions = ImportOption.DoNotIncludeTests.class)
final class ArchitectureTest {

    /** Bottom to top: a package imports those of lower levels only. */
    private static final List<List<String>> LEVELS = List.of(
            List.of("config", "memory"),
            List.of("weights"),
            List.of("mesh"),
            List.of("data", "collective"),
            List.of("segment"),
            List.of("attention"),
            List.of("model"),
            List.of("objective", "gradient"),
            List.of("optimizer"),
            List.of("checkpoint"),
            List.of("export"),
            List.of("training"), // writes its model through export, so it stands above it
            List.of("check"));

    /** Tested without loading libtorch, and all that the driver may use. */
    private static final List<String> WITHOUT_NATIVE_CODE =
            List.of("config", "data", "mesh", "weights", "checkpoint", "export");

    @ArchTest
    static void packagesImportLowerOnesOnly(JavaClasses classes) {
        List<String> notLower = new ArrayList<>();
        for (int level = LEVELS.size() - 1; level >= 0; level--) {
            for (String name : LEVELS.get(level)) {
                List<String> forbidden = new ArrayList<>(notLower);
                LEVELS.get(level).stream().filter(other -> !other.equals(name)).forEach(forbidden::add);
                if (!forbidden.isEmpty()) {
                    noClasses()
                            .that()
                            .resideInAPackage(inside(name))
                            .should()
                            .dependOnClassesThat()
                            .resideInAnyPackage(insideAll(forbidden))
                            .check(classes);
                }
            }
            notLower.addAll(LEVELS.get(level));
        }
    }

    @ArchTest
    static void everyPackageHasItsLevel(JavaClasses classes) {
        noClasses()
                .should()
                .resideOutsideOfPackages(
                        insideAll(LEVELS.stream().flatMap(List::stream).toList()))
                .check(classes);
    }

    @ArchTest
    static final ArchRule PACKAGES_HAVE_NO_CYCLES =
            slices().matching("ulysses.runtime.(*)..").should().beFreeOfCycles();

    @ArchTest
    static final ArchRule SPARK_IS_NEVER_HERE =
            noClasses().should().dependOnClassesThat().resideInAPackage("org.apache.spark..");

    @ArchTest
    static void packagesWithoutNativeCodeReachNone(JavaClasses classes) {
        List<String> forbidden = new ArrayList<>(List.of("org.bytedeco.."));
        LEVELS.stream()
                .flatMap(List::stream)
                .filter(name -> !WITHOUT_NATIVE_CODE.contains(name))
                .map(ArchitectureTest::inside)
                .forEach(forbidden::add);
        noClasses()
                .that()
                .resideInAnyPackage(insideAll(WITHOUT_NATIVE_CODE))
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(forbidden.toArray(String[]::new))
                .check(classes);
    }

    /** Bare scopes of JavaCPP are what {@code TensorScope} is for. */
    @ArchTest
    static final ArchRule BARE_POINTER_SCOPES_STAY_IN_MEMORY = noClasses()
            .that()
            .resideOutsideOfPackage(inside("memory"))
            .should()
            .dependOnClassesThat()
            .haveFullyQualifiedName("org.bytedeco.javacpp.PointerScope");

    @ArchTest
    static final ArchRule NAMES_SAY_WHAT_A_CLASS_DOES =
            noClasses().should().haveNameMatching(".*(Manager|Engine|Utils?|Helpers?|Common|Base|Misc)");

    /** A rank's standard output is for events, which {@code RankMain} writes to the descriptor itself; {@code System.out} is not used. */
    @ArchTest
    static final ArchRule NOTHING_PRINTS = noClasses().should().accessField(System.class, "out");

    /** Standard error is the log of a process: its main class sends standard output and its last stack trace there. */
    @ArchTest
    static final ArchRule ONLY_THE_PROCESS_WRITES_TO_STANDARD_ERROR = noClasses()
            .that()
            .haveNameNotMatching("ulysses\\.runtime\\.(training\\.RankMain|check\\.GpuCheck.*)")
            .should()
            .accessField(System.class, "err");

    private static String inside(String name) {
        return "ulysses.runtime." + name + "..";
    }

    private static String[] insideAll(List<String> names) {
        return names.stream().map(ArchitectureTest::inside).toArray(String[]::new);
    }
}
