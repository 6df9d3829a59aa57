package ulysses.runtime.memory;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;

class TensorScopeTest {
    private static final long MIB = 1 << 20;

    @Test
    void freesWhatWasNotKept() {
        Tensor inside;
        try (TensorScope scope = TensorScope.open()) {
            inside = torch.ones(4);
        }

        assertThat(inside.isNull()).isTrue();
        assertThat(TensorScope.openScopes()).isZero();
    }

    @Test
    void keptTensorLivesUntilTheEnclosingScopeCloses() {
        Tensor kept;
        try (TensorScope outer = TensorScope.open()) {
            try (TensorScope inner = TensorScope.open()) {
                kept = inner.keep(torch.ones(4));
                assertThat(TensorScope.openScopes()).isEqualTo(2);
            }
            assertThat(sum(kept)).isEqualTo(4);
        }

        assertThat(kept.isNull()).isTrue();
    }

    @Test
    void keepOfAnOuterScopePassesInnerOnes() {
        Tensor kept;
        try (TensorScope outermost = TensorScope.open()) {
            try (TensorScope outer = TensorScope.open()) {
                try (TensorScope inner = TensorScope.open()) {
                    kept = outer.keep(torch.ones(4));
                }
                assertThat(sum(kept)).isEqualTo(4);
            }
            assertThat(sum(kept)).isEqualTo(4);
        }

        assertThat(kept.isNull()).isTrue();
    }

    @Test
    void keptWithoutEnclosingScopeBelongsToTheCaller() {
        Tensor kept;
        try (TensorScope scope = TensorScope.open()) {
            kept = scope.keep(torch.ones(4));
        }
        assertThat(sum(kept)).isEqualTo(4);

        kept.close();

        assertThat(kept.isNull()).isTrue();
    }

    @Test
    void ownedTensorOutlivesAllScopesUntilClosed() {
        Tensor owned;
        try (TensorScope outer = TensorScope.open()) {
            try (TensorScope inner = TensorScope.open()) {
                owned = TensorScope.own(torch.ones(4));
            }
        }
        assertThat(sum(owned)).isEqualTo(4);

        owned.close();
        owned.close();

        assertThat(owned.isNull()).isTrue();
    }

    @Test
    void ownedTensorIsFreedByItsCloseWhateverScopesAreOpen() {
        try (TensorScope outer = TensorScope.open()) {
            Tensor kept;
            try (TensorScope inner = TensorScope.open()) {
                kept = inner.keep(torch.ones(4));
            }
            Tensor owned = TensorScope.own(kept);

            owned.close();

            assertThat(owned.isNull()).isTrue();
        }
    }

    @Test
    void ownedTensorOfAnotherScopeDoesNotDisturbIt() {
        Tensor owned = TensorScope.own(torch.ones(4));
        try (TensorScope outer = TensorScope.open()) {
            try (TensorScope inner = TensorScope.open()) {
                inner.keep(owned);
            }
            TensorScope.own(owned).close();
        }
        assertThat(sum(owned)).isEqualTo(4);

        owned.close();

        assertThat(owned.isNull()).isTrue();
    }

    @Test
    void keepingTwiceIsTheSameAsOnce() {
        Tensor kept;
        try (TensorScope outer = TensorScope.open()) {
            try (TensorScope inner = TensorScope.open()) {
                kept = inner.keep(inner.keep(torch.ones(4)));
            }
            assertThat(sum(kept)).isEqualTo(4);
        }

        assertThat(kept.isNull()).isTrue();
    }

    @Test
    void keepsTheObjectThatAnInPlaceOperationReturns() {
        try (TensorScope outer = TensorScope.open()) {
            Tensor kept;
            try (TensorScope inner = TensorScope.open()) {
                kept = inner.keep(torch.ones(4).add_(new Scalar(1)));
            }
            assertThat(sum(kept)).isEqualTo(8);
        }
    }

    @Test
    void refusesReferencesIntoOtherNativeObjects() {
        try (TensorScope scope = TensorScope.open()) {
            TensorVector vector = new TensorVector(torch.ones(4));

            assertThatThrownBy(() -> scope.keep(vector.get(0)))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("new Tensor(x)");
            assertThat(sum(scope.keep(new Tensor(vector.get(0))))).isEqualTo(4);
        }
    }

    @Test
    void refusesToKeepFromAnotherThread() throws Exception {
        try (TensorScope scope = TensorScope.open()) {
            var kept = CompletableFuture.runAsync(() -> scope.keep(torch.ones(4)));

            assertThatThrownBy(() -> kept.get(10, TimeUnit.SECONDS)).hasMessageContaining("another thread");
        }
    }

    @Test
    void freesEarlyOnClose() {
        DeviceMemory memory = DeviceMemory.host();
        try (TensorScope scope = TensorScope.open()) {
            warmUp();
            long before = memory.current();
            for (int i = 0; i < 100; i++) {
                torch.ones(4 * MIB).close(); // 16 MiB each
            }
            // Waiting for the scope's end would be 1600 MiB.
            assertThat(memory.current() - before).isLessThan(400 * MIB);
        }
    }

    @Test
    void nativeMemoryStaysLevelOverManyScopes() {
        DeviceMemory memory = DeviceMemory.host();
        warmUp();
        long before = memory.current();

        for (int i = 0; i < 500; i++) {
            try (TensorScope outer = TensorScope.open()) {
                Tensor y;
                try (TensorScope inner = TensorScope.open()) {
                    Tensor x = torch.ones(MIB);
                    y = inner.keep(x.add(x)); // 4 MiB each
                }
                TensorScope.own(y.mul(y)).close();
            }
        }

        // Leaking one tensor an iteration would be 2000 MiB.
        assertThat(memory.current() - before).isLessThan(100 * MIB);
        assertThat(memory.peak()).isGreaterThanOrEqualTo(memory.current() / 2);
        assertThat(TensorScope.openScopes()).isZero();
    }

    private static void warmUp() {
        try (TensorScope scope = TensorScope.open()) {
            torch.ones(16 * MIB).sum();
        }
    }

    private static double sum(Tensor tensor) {
        try (TensorScope scope = TensorScope.open()) {
            return tensor.sum().item_double();
        }
    }
}
