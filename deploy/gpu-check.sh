#!/usr/bin/env bash
# Proves the CUDA path on this machine's first GPU and measures it; prints JSON, one object a part. Exit code 0: all within bounds.
#
#   deploy/gpu-check.sh [correctness] [speed] [length]        all three by default
#
# Needs an NVIDIA driver, a Java runtime (JAVA_HOME, or java on the path), the jars of a build with -Pgpu, and the libraries of CUDA 13,
# cuDNN 9 (9.25 for its attention kernel) and NCCL 2 on LD_LIBRARY_PATH. An installation of PyTorch for CUDA 13 has them:
#
#   export LD_LIBRARY_PATH=$(python3 -c 'import nvidia, glob; print(":".join(glob.glob(nvidia.__path__[0] + "/*/lib")))')
#
# ULYSSES_CLASSPATH names the jars when they don't lie in this checkout (built there when missing and Maven is found).
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
if [ -z "${ULYSSES_CLASSPATH:-}" ]; then
  [ -f "$here/job/target/built-gpu" ] || ULYSSES_PROFILE=gpu "$here/deploy/local.sh" help >/dev/null
  ULYSSES_CLASSPATH="$here/conf:$here/job/target/classes:$here/job/target/lib/*:$here/job/target/spark/*"
fi
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(correctness speed length)

run() { "$java" -Xmx1g -XX:+UseSerialGC --add-opens=java.base/java.nio=ALL-UNNAMED -cp "$ULYSSES_CLASSPATH" "$@"; }
bench() { run ulysses.job.Main bench --device cuda --ranks 1 --threads 4 "$@"; }

# The longest sequence, in multiples of 4096 tokens, of which one training step fits: doubling, then bisection.
longest() {
  local good=0 bad=0 next=32768
  while [ "$bad" -eq 0 ] || [ $((bad - good)) -gt $((good / 16 + 4096)) ]; do
    if result=$(bench --steps 1 --warmup 0 --seq "$next" "$@" 2>"$log"); then
      good=$next
      last=$result
    else
      bad=$next
    fi
    next=$((bad == 0 ? good * 2 : (good + bad) / 2 / 4096 * 4096))
    [ "$next" -gt 0 ] && [ "$next" -ne "$good" ] || break
  done
  echo "{\"longest\": $good, \"options\": \"$*\", \"first_that_failed\": $bad, \"last\": ${last:-null}}"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
for part in "${parts[@]}"; do
  case $part in
    correctness) run ulysses.runtime.check.GpuCheck || status=$? ;;
    speed)
      bench --shape smollm2-135m --seq 8192,32768 --dtype bf16
      bench --shape llama-8b-4-layers --seq 32768,65536 --dtype bf16 --activation_memory attention
      bench --shape llama-8b-4-layers --seq 32768 --dtype bf16 --activation_memory full
      ;;
    length) longest --shape llama-8b-4-layers --dtype bf16 ;;
    *)
      echo "error: no part $part; use correctness, speed or length" >&2
      exit 2
      ;;
  esac
done
exit "$status"
