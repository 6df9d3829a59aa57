package ulysses.runtime.collective;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Scanner;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.NativeRuntime;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.mesh.RankMesh;

/** A small rank process for tests: sums ranks over the world {@code count} times, an event each; -1 means for ever. */
final class AllReduceRank {
    private static final ObjectMapper JSON = new ObjectMapper();

    private AllReduceRank() {}

    static String line(int rank, int ranks, int storePort, int count) {
        return rank + " " + ranks + " " + storePort + " " + count;
    }

    public static void main(String[] arguments) throws IOException {
        Scanner input = new Scanner(System.in, StandardCharsets.UTF_8);
        int rank = input.nextInt();
        RankMesh mesh = new RankMesh(input.nextInt(), 1);
        int storePort = input.nextInt();
        int count = input.nextInt();
        NativeRuntime.start(1);
        Rendezvous rendezvous = RankThreads.rendezvous(rank, mesh, storePort, Duration.ofSeconds(30));
        try (ProcessGroups groups =
                ProcessGroups.open(rendezvous, port -> report(new RankEvent.StoreOpen(rank, port)))) {
            for (int step = 1; step != count + 1; step++) {
                report(new RankEvent.Evaluated(rank, step, "sum", sumOfRanks(groups.world())));
            }
            report(new RankEvent.Done(rank, count));
        } catch (CollectiveException e) {
            report(new RankEvent.Failed(rank, 0, "infrastructure", String.valueOf(e.getMessage())));
            System.err.println("rank " + rank + " lost its peers");
            System.exit(3);
        }
    }

    private static double sumOfRanks(Collectives world) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor sum = torch.full(new long[] {1}, new Scalar((double) world.rank()));
            return world.allReduceSum(sum).await().item_float();
        }
    }

    private static void report(RankEvent event) {
        try {
            System.out.println(JSON.writeValueAsString(event));
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }
}
