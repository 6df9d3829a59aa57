#!/usr/bin/env bash
# Prints the GPUs of this machine as Spark's resource discovery wants them: {"name":"gpu","addresses":["0","1"]}.
set -euo pipefail
indices=$(nvidia-smi --query-gpu=index --format=csv,noheader)
# shellcheck disable=SC2086 # one word a GPU
addresses=$(printf '"%s",' $indices)
echo "{\"name\":\"gpu\",\"addresses\":[${addresses%,}]}"
