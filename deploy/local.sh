#!/usr/bin/env bash
# Runs a command of the job on this machine: deploy/local.sh conf/quickstart.yaml [--key value ...]
# In a checkout it builds first if something changed: needs JDK 17 and Maven; ULYSSES_PROFILE=mkl (or gpu) chooses other native
# libraries. In the unpacked archive it needs JDK 17 and SPARK_HOME, and unpacks the native libraries into ulysses-natives/ once (in the
# image of Dockerfile they lie there).
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)

# What a checkout needs: builds if a source changed.
from_checkout() {
  local profile=${ULYSSES_PROFILE:-cpu}
  local built=$here/job/target/built-$profile
  if [ ! -f "$built" ] ||
    [ -n "$(find "$here"/pom.xml "$here"/*/pom.xml "$here"/*/src/main -newer "$built" -type f -print -quit)" ]; then
    echo "building (profile $profile) ..." >&2
    rm -rf "$here"/job/target/lib "$here"/job/target/spark "$here"/job/target/built-*
    (cd "$here" && mvn -B -q --no-transfer-progress -P"$profile" -Dmaven.test.skip=true -Dspotless.check.skip=true package)
    touch "$built"
  fi
  [ -n "${SPARK_HOME:-}" ] || { SPARK_HOME=$here/job/target/spark-home; mkdir -p "$SPARK_HOME/jars"; }
  classes=$here/conf:$here/job/target/classes:$here/job/target/lib/*:$here/job/target/spark/*
}

# What the unpacked archive needs: Spark from SPARK_HOME, and the native libraries unpacked, once.
from_archive() {
  if ! compgen -G "${SPARK_HOME:-/nowhere}/jars/spark-core_*.jar" >/dev/null; then
    echo "SPARK_HOME is '${SPARK_HOME:-}', which has no jars/spark-core_*.jar; set it to the folder of a Spark 4.1 for Scala 2.13" >&2
    exit 2
  fi
  local natives=$here/ulysses-natives
  if [ ! -d "$natives" ]; then
    local part
    part=$(mktemp -d "$natives.XXXXXX")
    if ! (cd "$part" && jar xf "$here/ulysses-natives.zip"); then
      rm -rf "$part"
      echo "ulysses-natives.zip could not be unpacked into $natives; put JDK 17's jar on the PATH, or unzip it there" >&2
      exit 2
    fi
    chmod 755 "$part"
    mv -T "$part" "$natives" 2>/dev/null || rm -rf "$part" # another run was first
  fi
  classes=$here/conf:$here/ulysses-on-spark.jar:$natives/*:$SPARK_HOME/jars/*
}

if [ -f "$here/ulysses-on-spark.jar" ] && [ ! -f "$here/pom.xml" ]; then from_archive; else from_checkout; fi
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
  -cp "$classes" \
  ulysses.job.Main "$@"
