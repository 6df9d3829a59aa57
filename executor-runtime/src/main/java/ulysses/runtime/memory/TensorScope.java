package ulysses.runtime.memory;

import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.Iterator;
import java.util.Set;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;

/**
 * Lives for one try block on one thread: every native object made inside it is freed when it closes, except what was kept.
 *
 * <pre>{@code
 * try (TensorScope scope = TensorScope.open()) {
 *     Tensor y = x.matmul(w); // [s, B, D]
 *     return scope.keep(y);
 * }
 * }</pre>
 *
 * Scopes nest and belong to the thread that opened them. A tensor made while no scope is open is freed by its {@code close()}
 * only. Inside a scope, {@code close()} on a tensor frees it early; the scope then has nothing left to do for it.
 */
public final class TensorScope implements AutoCloseable {
    static {
        NativeRuntime.configure();
    }

    private final HeldPointers scope = new HeldPointers();

    private TensorScope() {}

    /** Opens a scope inside the innermost open one of this thread. */
    public static TensorScope open() {
        return new TensorScope();
    }

    /**
     * Hands {@code pointer} (a tensor, or another native object) to the scope that encloses this one; without one the caller
     * owns it and must {@code close()} it.
     *
     * @throws IllegalArgumentException if {@code pointer} is a reference into another native object (as {@code x.grad()} and
     *     {@code vector.get(i)} return): keep {@code new Tensor(pointer)}
     * @throws IllegalStateException if this scope is closed or belongs to another thread
     */
    public <P extends Pointer> P keep(P pointer) {
        checkOwnsMemory(pointer);
        Iterator<PointerScope> scopes = PointerScope.getScopeIterator();
        pointer.retainReference();
        while (scopes.hasNext()) {
            PointerScope current = scopes.next();
            letGo(current, pointer);
            if (current == scope) {
                if (scopes.hasNext()) {
                    scopes.next().attach(pointer);
                    pointer.releaseReference();
                }
                return pointer;
            }
        }
        throw new IllegalStateException("the scope is closed or was opened by another thread than "
                + Thread.currentThread().getName() + "; keep inside the scope's own try block");
    }

    /**
     * Takes {@code pointer} out of every open scope of this thread: it lives until its {@code close()}, which the object that
     * holds it in a field must call. Owned twice, it must be closed twice.
     *
     * @throws IllegalArgumentException if {@code pointer} is a reference into another native object
     */
    public static <P extends Pointer> P own(P pointer) {
        checkOwnsMemory(pointer);
        pointer.retainReference();
        for (Iterator<PointerScope> scopes = PointerScope.getScopeIterator(); scopes.hasNext(); ) {
            letGo(scopes.next(), pointer);
        }
        return pointer;
    }

    private static void letGo(PointerScope scope, Pointer pointer) {
        if (scope instanceof HeldPointers held) {
            held.letGo(pointer);
        }
    }

    /** Scopes open on this thread: 0 between steps, else one was not closed. */
    public static int openScopes() {
        int count = 0;
        for (Iterator<PointerScope> scopes = PointerScope.getScopeIterator(); scopes.hasNext(); scopes.next()) {
            count++;
        }
        return count;
    }

    /** Frees what was made in this scope and not kept. A second call does nothing. */
    @Override
    public void close() {
        scope.close();
    }

    private static void checkOwnsMemory(Pointer pointer) {
        if (pointer.isNull() || pointer.referenceCount() < 0) {
            throw new IllegalArgumentException(
                    "%s is %s, so no scope can keep it; keep a copy of the handle: new Tensor(x)"
                            .formatted(
                                    pointer.getClass().getSimpleName(),
                                    pointer.isNull() ? "freed already" : "a reference into another native object"));
        }
    }

    /** Knows what it holds: PointerScope's own {@code detach} releases also what the scope does not hold. */
    private static final class HeldPointers extends PointerScope {
        private final Set<Pointer> held = Collections.newSetFromMap(new IdentityHashMap<>());

        @Override
        public PointerScope attach(Pointer pointer) {
            return held.add(pointer) ? super.attach(pointer) : this;
        }

        void letGo(Pointer pointer) {
            if (held.remove(pointer)) {
                detach(pointer);
            }
        }
    }
}
