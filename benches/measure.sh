#!/bin/sh
# Measures every group of `compare` anew, one after the other, each into docs/figures/PROCESSOR/GROUP.json, and writes the report:
# docs/BENCHMARKS.md, docs/plots, README's table. About ten minutes after the build, on a machine that is left alone.
#
#   benches/measure.sh [group...]     all of them, or those that are named
#   HOTCALL_SECONDS=2 benches/measure.sh     each group in that time, to try it out
set -eu
cd "$(dirname "$0")/.."

# Seconds for each group. `core` is a part of `peers`, measured by itself: more time for the rows that README shows.
all="core:60 peers:110 width:60 mix:80 retpoline:20 threads:80 swaps:60 chains:60"
chosen=" $* "

# Cargo writes its progress; the build is not part of the time.
cargo build --release -p hotcall-benches --bin compare --bin report
cargo build --release -p hotcall-bench-plugin
folder="docs/figures/$(cargo run --quiet --release -p hotcall-benches --bin report -- --processor)"
mkdir -p "$folder"
began=$(date +%s)
for entry in $all; do
    group=${entry%:*}
    if [ $# -ne 0 ] && [ "${chosen#* "$group" }" = "$chosen" ]; then continue; fi
    seconds=${HOTCALL_SECONDS:-${entry#*:}}
    echo "== $group: $seconds s, begun $(($(date +%s) - began)) s after the first"
    cargo run --quiet --release -p hotcall-benches --bin compare -- "$group" --seconds "$seconds" \
        --json "$folder/$group.json"
done
cargo run --quiet --release -p hotcall-benches --bin report
echo "== done in $(($(date +%s) - began)) s"
