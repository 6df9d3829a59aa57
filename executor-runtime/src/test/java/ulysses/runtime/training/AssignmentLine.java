package ulysses.runtime.training;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.EvaluationSet;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.mesh.RankMesh;

/**
 * Fixture: the line that tells a rank process its work, for ranks of one sequence-parallel group on this host. Its main method prints
 * one, to start a rank by hand (README.md of this module).
 *
 * @param ranks of the group
 * @param trainRows folder of prepared rows
 * @param evalRows rows to evaluate on
 * @param scratch folder for local files
 */
public record AssignmentLine(
        TrainingConfig config, int ranks, String trainRows, List<EvaluationSet> evalRows, String scratch) {

    /** For {@code rank}; rank 0 opens the store at {@code storePort}, or at any free one with 0. */
    public String of(int rank, int storePort) {
        String host = "127.0.0.1";
        RankAssignment assignment = new RankAssignment(
                rank,
                new RankMesh(ranks, ranks),
                host,
                host,
                storePort,
                1,
                "run",
                0,
                1,
                trainRows,
                evalRows,
                scratch,
                config);
        try {
            return new ObjectMapper().writeValueAsString(assignment);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("an assignment can't be written as JSON", e);
        }
    }

    /** Prints the line of one rank: YAML, folder of prepared rows, rank, ranks, port of the store. */
    public static void main(String[] arguments) {
        TrainingConfig config = ConfigFile.load(ConfigFile.Sources.ofFile(arguments[0]), new Configuration())
                .config();
        int ranks = Integer.parseInt(arguments[3]);
        AssignmentLine line =
                new AssignmentLine(config, ranks, arguments[1], List.of(), System.getProperty("java.io.tmpdir"));
        System.out.println(line.of(Integer.parseInt(arguments[2]), Integer.parseInt(arguments[4])));
    }
}
