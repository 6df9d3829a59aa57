#!/usr/bin/env bash
# Two machines on one, by hand and as root: job/src/test/sh/two-hosts.sh FOLDER [cut|lose], behind mvn -B package.
# Two network namespaces hold a Worker each. In one network they reach the Master and the driver, and each other only until rows are
# prepared (which takes Spark's own exchange between executors); a second one joins them alone; and a bridge has the same address on both,
# as that of a container engine. A run of two ranks in one group ends well only if ranks meet in the second network. Behind the first
# checkpoint "cut" takes that network away for 20 s, "lose" all networks of one machine for 40 s.
set -euo pipefail

project=$(cd "$(dirname "$0")/../../../.." && pwd)
folder=$(mkdir -p "$1" && cd "$1" && pwd)
target=$project/job/target
daemons=()

down() {
  for pid in "${daemons[@]}"; do pkill -KILL -P "$pid" || true; kill -KILL "$pid" || true; done 2>/dev/null
  for name in a b; do ip netns pids ulysses-$name 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true; ip netns del ulysses-$name 2>/dev/null || true; done
  for link in uout-a uout-b uin-a uin-b ulysses-out ulysses-in; do ip link del $link 2>/dev/null || true; done
}
trap down EXIT
down

# networks: "out" with the driver, its ports kept apart; "in" between the two
for network in out in; do ip link add ulysses-$network type bridge; ip link set ulysses-$network up; done
ip address add 10.77.0.1/24 dev ulysses-out
number=1
for name in a b; do
  number=$((number + 1))
  ip netns add ulysses-$name
  ip -n ulysses-$name link set lo up
  for network in out in; do
    ip link add u$network-$name type veth peer name $network netns ulysses-$name
    ip link set u$network-$name master ulysses-$network up
    ip -n ulysses-$name link set $network up
  done
  ip -n ulysses-$name address add 10.77.0.$number/24 dev out
  ip -n ulysses-$name address add 10.78.0.$number/24 dev in
  ip -n ulysses-$name link add containers type bridge
  ip -n ulysses-$name address add 172.31.0.1/24 dev containers
  ip -n ulysses-$name link set containers up
done

# a Spark of the build's jars
export SPARK_HOME=$folder/spark SPARK_SCALA_VERSION=2.13 DJL_OFFLINE=true OPT_OUT_TRACKING=true OMP_NUM_THREADS=1
mkdir -p "$SPARK_HOME/jars" "$SPARK_HOME/bin"
ln -sf "$target"/spark/*.jar "$target"/lib/{jackson-core,jackson-databind,jackson-annotations,slf4j}-*.jar "$SPARK_HOME/jars/"
opens=$(sed -n '/opens() {/,$p' "$project/deploy/local.sh" | grep -oE '\b(java|jdk|sun)\.[a-z.]+' | grep -vE 'jdk.incubator|jdk.reflect|java.security|sun.security.krb5' | sort -u \
  | sed 's/.*/--add-opens=java.base\/&=ALL-UNNAMED/' | tr '\n' ' ')
printf '#!/bin/sh\nexec java -Xmx512m %s -cp "%s/jars/*" org.apache.spark.deploy.SparkSubmit "$@"\n' "$opens" "$SPARK_HOME" > "$SPARK_HOME/bin/spark-submit"
chmod +x "$SPARK_HOME/bin/spark-submit"
# shellcheck disable=SC2086 # one word an option
daemon() { exec java -Xmx256m $opens -cp "$SPARK_HOME/jars/*" "$@"; }
SPARK_LOCAL_IP=10.77.0.1 daemon org.apache.spark.deploy.master.Master --host 10.77.0.1 --port 7077 > "$folder/master.log" 2>&1 &
daemons+=($!)
number=1
for name in a b; do
  number=$((number + 1))
  # shellcheck disable=SC2086
  SPARK_LOCAL_IP=10.77.0.$number ip netns exec ulysses-$name java -Xmx256m $opens -cp "$SPARK_HOME/jars/*" org.apache.spark.deploy.worker.Worker --host 10.77.0.$number \
    --cores 1 --memory 1g --work-dir "$folder/work-$name" spark://10.77.0.1:7077 > "$folder/worker-$name.log" 2>&1 &
  daemons+=($!)
done

tar -xzf "$target"/ulysses-on-spark-*-cpu.tar.gz -C "$folder"
cd "$folder"/ulysses-on-spark-*/
rm -rf "$folder/out"
submit() {
  SPARK_LOCAL_IP=10.77.0.1 deploy/submit.sh --master spark://10.77.0.1:7077 --ranks 2 --cores 1 --executor-memory 512m --driver-memory 512m \
    --device cpu --conf spark.driver.host=10.77.0.1 "$@"
}
submit prepare conf/quickstart.yaml --output_dir="$folder/out" > "$folder/prepare.out" 2> "$folder/prepare.err"
for name in a b; do ip link set uout-$name type bridge_slave isolated on; done
submit conf/quickstart.yaml --output_dir="$folder/out" --max_steps=60 --logging_steps=1 --save_steps=20 --eval_strategy=no \
  --ddp_timeout=10 --rendezvous_timeout=60 > "$folder/job.out" 2> "$folder/job.err" &
job=$!

until [ -e "$folder"/out/checkpoint-20/MANIFEST.json ] || ! kill -0 $job 2>/dev/null; do sleep 0.2; done
echo "connections of rank processes in the second network: $(ip netns exec ulysses-a ss -Htn state established | grep -c '10\.78\.0\.3' || true)"
without() { # SECONDS LINK...
  for link in "${@:2}"; do ip link set "$link" down; done
  echo "$(date +%T) without ${*:2}"
  sleep "$1"
  for link in "${@:2}"; do ip link set "$link" up; done
  echo "$(date +%T) back"
}
case ${2:-} in
  cut) without 20 ulysses-in ;;
  lose) without 40 uout-b uin-b ;;
esac
code=0
wait $job || code=$?
grep -hE "RunAttempts: (attempt|starting|host)|^done:|^error" "$folder/job.out" "$folder/job.err" | cut -c1-300 || true
echo "exit code $code"
exit $code
