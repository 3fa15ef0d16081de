#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# run.sh FUZZER SEEDS CORPUS SECONDS: fuzzes from the seeds and what earlier
# runs left in CORPUS. An input that a bug was found with stays there, and is
# printed; FUZZER FILE runs it again. FUZZ_SECONDS overrides SECONDS.
set -eu

[ $# -eq 4 ] || { echo "usage: run.sh FUZZER SEEDS CORPUS SECONDS" >&2; exit 2; }
fuzzer=$1 seeds=$2 corpus=$3 seconds=${FUZZ_SECONDS:-$4}
mkdir -p "$corpus"
[ -d "$seeds" ] || seeds=$corpus
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
exec "$fuzzer" -max_total_time="$seconds" -timeout=20 -len_control=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$corpus/../found-" \
    "$corpus" "$seeds"
