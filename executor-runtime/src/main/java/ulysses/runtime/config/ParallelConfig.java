package ulysses.runtime.config;

/**
 * How many ranks and how they share the work.
 *
 * @param ranks {@code num_ranks} (ours): 0 means what the cluster offers
 * @param sequenceParallelSize {@code sequence_parallel_size}: ranks that share one sequence, P
 * @param device {@code device} (ours): where ranks compute
 * @param timeoutSeconds {@code ddp_timeout}, capped at 3600: the longest a collective may wait
 * @param rendezvousSeconds {@code rendezvous_timeout} (ours): the longest all ranks may take to meet
 * @param maxAttempts {@code max_attempts} (ours): attempts that fail since the newest checkpoint before the run gives up
 * @param maxHostFailures {@code max_host_failures} (ours): attempts that fail on a host before the next do without it; 0 is no limit
 * @param elastic {@code elastic} (ours): whether the run goes on with fewer data-parallel groups when lost ranks don't come back
 * @param hangSeconds {@code hang_timeout} (ours): no progress for so long ends the attempt
 * @param zeroStage {@code zero_stage} (ours), or {@code zero_optimization.stage} of a DeepSpeed JSON: what is cut over all ranks
 * @param offloadsOptimizer {@code offload_optimizer} (ours), or {@code zero_optimization.offload_optimizer} of a DeepSpeed JSON:
 *     whether optimizer states and master weights are held off the device
 * @param offloadsActivations {@code offload_activations} (ours), or {@code activation_checkpointing.cpu_checkpointing} of a DeepSpeed
 *     JSON: whether what layers keep for backward is held off the device meanwhile
 * @param overlapsExchange {@code overlap_exchange} (ours): whether a group's all-to-alls run beside what is computed next
 */
public record ParallelConfig(
        int ranks,
        int sequenceParallelSize,
        Device device,
        int timeoutSeconds,
        int rendezvousSeconds,
        int maxAttempts,
        int maxHostFailures,
        boolean elastic,
        int hangSeconds,
        int zeroStage,
        boolean offloadsOptimizer,
        boolean offloadsActivations,
        boolean overlapsExchange) {

    /** Where ranks compute. */
    public enum Device {
        /** Gloo between ranks. */
        CPU,
        /** NCCL between ranks, one GPU each. */
        CUDA
    }
}
