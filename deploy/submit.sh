#!/usr/bin/env bash
# Submits the job to a cluster with every setting that ranks need:
#
#   deploy/submit.sh --master URL [options] [COMMAND] conf.yaml [--key value ...]
#
#   --master URL            spark://host:7077, yarn, k8s://https://host:6443
#   --ranks N               ranks, one executor each unless --ranks-per-executor says otherwise (default 1)
#   --ranks-per-executor R  ranks that share an executor (default 1)
#   --device cpu|cuda       cuda: every rank gets a GPU of its own (default cuda)
#   --cores C               cores of a rank: Spark tasks while data is prepared, then its threads (default 1)
#   --rank-memory M         host memory of a rank process, outside of the executor's heap (default 16g)
#   --executor-memory M     heap of an executor (default 1g and 256m for every core but the first, at least 4g)
#   --driver-memory M       heap of the driver (default 4g)
#   --deploy-mode MODE      client (default) or cluster
#   --image IMAGE           on Kubernetes: what deploy/Dockerfile made
#   --name NAME             of the application
#   --conf KEY=VALUE        any other Spark setting, as often as you like; wins over those above
#   --dry-run               print the spark-submit line and stop
#
# COMMAND is train (default) or prepare. Needs SPARK_HOME, or spark-submit on the PATH. In Kubernetes' cluster mode jar and natives are
# those that the image has under /opt/ulysses, and the YAML lies there, on HDFS or S3.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
master= ranks=1 per_executor=1 device=cuda cores=1 rank_memory=16g executor_memory= driver_memory=4g
mode=client image= name="ulysses on spark" dry=no more=() arguments=() config=

usage() {
  sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "$0"
}

fail() {
  echo "error: $1" >&2
  exit 2
}

number() {
  [[ $2 =~ ^[1-9][0-9]*$ ]] || fail "$1 $2: must be a whole number of at least 1"
}

while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --dry-run) dry=yes; shift ;;
    --master | --ranks | --ranks-per-executor | --device | --cores | --rank-memory | --executor-memory | --driver-memory | \
      --deploy-mode | --image | --name | --conf)
      [ $# -gt 1 ] || fail "$1: needs a value"
      case $1 in
        --master) master=$2 ;;
        --ranks) number "$1" "$2"; ranks=$2 ;;
        --ranks-per-executor) number "$1" "$2"; per_executor=$2 ;;
        --device) device=$2 ;;
        --cores) number "$1" "$2"; cores=$2 ;;
        --rank-memory) rank_memory=$2 ;;
        --executor-memory) executor_memory=$2 ;;
        --driver-memory) driver_memory=$2 ;;
        --deploy-mode) mode=$2 ;;
        --image) image=$2 ;;
        --name) name=$2 ;;
        --conf) more+=(--conf "$2") ;;
      esac
      shift 2
      ;;
    *) break ;;
  esac
done
arguments=("$@")

[ -n "$master" ] || fail "--master is missing; name the cluster, such as spark://host:7077, yarn or k8s://https://host:6443"
case $device in cpu | cuda) ;; *) fail "--device $device: use cpu or cuda" ;; esac
case $mode in client | cluster) ;; *) fail "--deploy-mode $mode: use client or cluster" ;; esac
[[ $rank_memory =~ ^[1-9][0-9]*[mg]$ ]] || fail "--rank-memory $rank_memory: give megabytes or gigabytes, such as 64g"
[ $((ranks % per_executor)) -eq 0 ] || fail "--ranks $ranks: is not a multiple of --ranks-per-executor $per_executor"
case $mode:$master in
  cluster:spark://*) # Spark's client exits 0 as soon as such a driver runs, or fails
    fail "--deploy-mode cluster: on $master nobody learns how the run ended, since spark-submit exits 0 for every end; use --deploy-mode client"
    ;;
esac
case ${arguments[0]:-} in
  "") fail "no configuration: name a YAML file" ;;
  prepare | train) config=${arguments[1]:-} ;;
  *) config=${arguments[0]}; arguments=(train "${arguments[@]}") ;;
esac
[ -n "$config" ] || fail "${arguments[0]}: name a YAML file"

jar=$here/ulysses-on-spark.jar natives=$here/ulysses-natives.zip discovery=$here/deploy/discover-gpus.sh
if [ ! -f "$jar" ]; then # a checkout
  jar=$(compgen -G "$here/job/target/job-*-thin.jar" || true)
  natives=$(compgen -G "$here/job/target/job-*-natives.zip" || true)
  [ -n "$jar" ] && [ -n "$natives" ] ||
    fail "$here has neither ulysses-on-spark.jar nor a build; run: mvn -B -DskipTests package"
fi

executors=$((ranks / per_executor))
executor_cores=$((cores * per_executor))
if [ -z "$executor_memory" ]; then # as many tasks prepare data at once as there are cores
  heap=$((1024 + 256 * (executor_cores - 1)))
  executor_memory=$((heap > 4096 ? heap : 4096))m
fi
rank_cores=spark.ulysses.rank.cores
case $master in local | "local["*) rank_cores=spark.task.cpus ;; esac # plain local mode has no resource profiles
line=(--class ulysses.job.Main --master "$master" --deploy-mode "$mode" --name "$name"
  --driver-memory "$driver_memory" --executor-memory "$executor_memory"
  --conf "spark.executor.instances=$executors" --conf "spark.executor.cores=$executor_cores"
  --conf "$rank_cores=$cores"
  --conf spark.dynamicAllocation.enabled=false --conf spark.speculation=false
  --conf spark.scheduler.minRegisteredResourcesRatio=1.0
  --conf spark.scheduler.maxRegisteredResourcesWaitingTime=300s
  --conf spark.scheduler.barrier.maxConcurrentTasksCheck.interval=1s
  --conf spark.task.reaper.enabled=true --conf spark.task.reaper.killTimeout=30s
  --conf spark.log.level=WARN # of the driver: at INFO Spark repeats a line about a running barrier stage every second
  --conf spark.metrics.namespace=ulysses # metrics for Prometheus: /metrics/prometheus/ on the port of Spark's UI
  --conf "spark.metrics.conf.*.sink.prometheusServlet.class=org.apache.spark.metrics.sink.PrometheusServlet"
  --conf "spark.metrics.conf.*.sink.prometheusServlet.path=/metrics/prometheus")

overhead() { # of an executor: its ranks' processes
  local unit=${rank_memory: -1}
  echo "$((${rank_memory%[mg]} * per_executor))$unit"
}

case $master in
  spark://*)
    line+=(--conf "spark.cores.max=$((executors * executor_cores))" --archives "$natives#ulysses-natives")
    ;;
  yarn)
    line+=(--conf "spark.executor.memoryOverhead=$(overhead)" --conf spark.yarn.maxAppAttempts=1
      --conf spark.yarn.submit.waitAppCompletion=true --archives "$natives#ulysses-natives")
    ;;
  k8s://*)
    [ -n "$image" ] || fail "--image is missing; name the image that deploy/Dockerfile made"
    if [ "$mode" = cluster ]; then
      jar=local:///opt/ulysses/ulysses-on-spark.jar
      line+=(--conf spark.ulysses.rank.natives=/opt/ulysses/ulysses-natives --conf spark.kubernetes.report.interval=30s)
    else
      line+=(--archives "$natives#ulysses-natives")
    fi
    line+=(--conf "spark.kubernetes.container.image=$image"
      --conf "spark.executor.memoryOverhead=$(overhead)" --conf spark.kubernetes.executor.terminationGracePeriodSeconds=120s
      --conf "spark.kubernetes.executor.podTemplateFile=$here/deploy/kubernetes/executor-pod.yaml")
    discovery=/opt/ulysses/deploy/discover-gpus.sh
    ;;
  local*) line+=(--archives "$natives#ulysses-natives") ;;
  *) fail "--master $master: use spark://..., yarn or k8s://..." ;;
esac
if [ "$device" = cuda ]; then # asked for by the stage of ranks alone, so tasks that prepare data use no GPU
  line+=(--conf "spark.executor.resource.gpu.amount=$per_executor")
  case $master in # a standalone Worker has its own discovery script
    yarn) line+=(--files "$discovery" --conf spark.executor.resource.gpu.discoveryScript=./discover-gpus.sh) ;;
    k8s://*) line+=(--conf "spark.executor.resource.gpu.discoveryScript=$discovery"
      --conf spark.executor.resource.gpu.vendor=nvidia.com) ;;
  esac
fi
line+=("${more[@]}")
if [ "$mode" = cluster ] && [ -f "$config" ]; then # the driver runs elsewhere and finds the file beside it
  case $master in
    yarn)
      line+=(--conf "spark.yarn.dist.files=$config")
      for i in "${!arguments[@]}"; do [ "${arguments[$i]}" = "$config" ] && arguments[i]=$(basename "$config"); done
      ;;
    *) fail "$config: in cluster mode the driver can't read this machine's files; put it on HDFS, S3 or into the image" ;;
  esac
fi
line+=("$jar" "${arguments[@]}" --num_ranks "$ranks" --device "$device")

submit=${SPARK_HOME:+$SPARK_HOME/bin/}spark-submit
if [ "$dry" = yes ]; then
  printf '%q ' "$submit" "${line[@]}"
  echo
  exit 0
fi
command -v "$submit" >/dev/null || fail "$submit is not there; set SPARK_HOME to a Spark 4.1 installation"
case $mode:$master:${more[*]} in
  *waitAppCompletion=false*) exec "$submit" "${line[@]}" ;; # nobody waits for the end
  cluster:k8s://*) ;;
  *) exec "$submit" "${line[@]}" ;;
esac

# On Kubernetes spark-submit exits 0 however the driver's pod ended; what it logs in the end tells.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$submit" "${line[@]}" 2>&1 | tee "$log"
code=$(awk '/container name:/ { driver = $3 == "spark-kubernetes-driver" } /exit code:/ && driver { code = $3 } END { print code }' "$log")
pod=$(awk '/pod name:/ { pod = $3 } END { print pod }' "$log")
[ "$code" = 0 ] || echo "error: the driver ended with exit code ${code:-unknown}; its log: kubectl logs ${pod:-POD}" >&2
exit "${code:-5}"
