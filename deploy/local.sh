#!/usr/bin/env bash
# Runs a command of the job on this machine: deploy/local.sh conf/quickstart.yaml [--key value ...]
# Builds first if something changed. Needs JDK 17 and Maven; ULYSSES_PROFILE=mkl (or gpu) chooses other native libraries.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
profile=${ULYSSES_PROFILE:-cpu}
built=$here/job/target/built-$profile

changed() {
  [ ! -f "$built" ] || [ -n "$(find "$here"/pom.xml "$here"/*/pom.xml "$here"/*/src/main -newer "$built" -type f -print -quit)" ]
}

if changed; then
  echo "building (profile $profile) ..." >&2
  rm -rf "$here"/job/target/lib "$here"/job/target/spark "$here"/job/target/built-*
  (cd "$here" && mvn -B -q --no-transfer-progress -P"$profile" -Dmaven.test.skip=true -Dspotless.check.skip=true package)
  touch "$built"
fi

[ -n "${SPARK_HOME:-}" ] || { SPARK_HOME=$here/job/target/spark-home; mkdir -p "$SPARK_HOME/jars"; }
export SPARK_HOME SPARK_SCALA_VERSION=2.13 SPARK_LOCAL_IP=${SPARK_LOCAL_IP:-127.0.0.1}
export DJL_OFFLINE=true OPT_OUT_TRACKING=true TOKENIZERS_PARALLELISM=false

opens() { for package in "$@"; do printf -- '--add-opens=java.base/%s=ALL-UNNAMED ' "$package"; done; }
# shellcheck disable=SC2046 # one word a flag
exec java -Xmx"${ULYSSES_DRIVER_MEMORY:-1g}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
  --add-modules=jdk.incubator.vector --enable-native-access=ALL-UNNAMED \
  $(opens java.lang java.lang.invoke java.lang.reflect java.io java.net java.nio java.util java.util.concurrent \
    java.util.concurrent.atomic jdk.internal.ref sun.nio.ch sun.nio.cs sun.security.action sun.util.calendar) \
  --add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED \
  -Djdk.reflect.useDirectMethodHandle=false -Dio.netty.tryReflectionSetAccessible=true \
  ${ULYSSES_JAVA_OPTIONS:-} \
  -cp "$here/conf:$here/job/target/classes:$here/job/target/lib/*:$here/job/target/spark/*" \
  ulysses.job.Main "$@"
