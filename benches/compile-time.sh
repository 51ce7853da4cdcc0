#!/bin/sh
# What the macros cost the compiler: a crate of 200 slots of 10 methods each, against the same crate with plain
# traits and `static NAME: LazyLock<Box<dyn Trait>>`. Prints seconds and the ratio. The goal is at most 2.
#
#   benches/compile-time.sh [slots] [methods] [runs]
#
# Each run touches the crate and builds it alone, in the debug and in the release profile; the two kinds take turns, and the
# medians are printed: of the times, and of the ratios of each turn.
set -eu
slots=${1:-200}
methods=${2:-10}
runs=${3:-3}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

generate() { # kind
    awk -v kind="$1" -v slots="$slots" -v methods="$methods" 'BEGIN {
        print "#![allow(dead_code)]"
        for (s = 0; s < slots; s++) {
            if (kind == "slots") print "#[hotcall::dispatch]"
            printf "pub trait T%d: Send + Sync {\n", s
            for (m = 0; m < methods; m++) printf "    fn m%d(&self, a: u64, b: &[u8]) -> Option<u64>;\n", m
            print "}"
            for (i = 0; i < 2; i++) {
                printf "pub struct I%d_%d(pub u64);\nimpl T%d for I%d_%d {\n", s, i, s, s, i
                for (m = 0; m < methods; m++)
                    printf "    fn m%d(&self, a: u64, b: &[u8]) -> Option<u64> { b.first().map(|b| a * self.0 + *b as u64 + %d) }\n", m, m
                print "}"
            }
            if (kind == "slots") printf "#[hotcall::slot]\npub static S%d: dyn T%d = I%d_0(1);\n", s, s, s
            else printf "pub static S%d: std::sync::LazyLock<Box<dyn T%d>> = std::sync::LazyLock::new(|| Box::new(I%d_0(1)));\n", s, s, s
            printf "pub fn call%d(x: u64) -> u64 {\n    let mut sum = 0;\n", s
            for (m = 0; m < methods; m++) printf "    sum += S%d.m%d(x, &[1, 2]).unwrap_or(0);\n", s, m
            print "    sum\n}"
            if (kind == "slots") printf "pub fn swap%d() { drop(S%d.replace(I%d_1(2))); }\n", s, s, s
            else printf "pub fn swap%d() -> Box<dyn T%d> { Box::new(I%d_1(2)) }\n", s, s, s
        }
        print "fn main() {\n    let mut sum = 0;"
        for (s = 0; s < slots; s++) printf "    sum += call%d(sum);\n    let _ = swap%d();\n", s, s
        print "    println!(\"{sum}\");\n}"
    }'
}

for kind in slots boxes; do
    mkdir -p "$work/$kind/src"
    generate "$kind" > "$work/$kind/src/main.rs"
    cat > "$work/$kind/Cargo.toml" <<TOML
[package]
name = "$kind"
version = "0.0.0"
edition = "2024"
[dependencies]
hotcall = { path = "$root/runtime" }
[workspace]
TOML
done

milliseconds() { # kind profile-flag
    touch "$work/$1/src/main.rs"
    start=$(date +%s%N)
    CARGO_TARGET_DIR="$work/target" CARGO_INCREMENTAL=0 cargo build --quiet --manifest-path "$work/$1/Cargo.toml" $2
    echo $((($(date +%s%N) - start) / 1000000))
}

median() { # file
    sort -n "$1" | awk '{ all[NR] = $1 } END { print NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'
}

for profile in "" --release; do
    # Dependencies first.
    for kind in slots boxes; do
        CARGO_TARGET_DIR="$work/target" CARGO_INCREMENTAL=0 cargo build --quiet --manifest-path "$work/$kind/Cargo.toml" $profile
    done
    : > "$work/slots.ms"
    : > "$work/boxes.ms"
    : > "$work/ratios"
    run=0
    while [ "$run" -lt "$runs" ]; do
        with=$(milliseconds slots "$profile")
        without=$(milliseconds boxes "$profile")
        echo "$with" >> "$work/slots.ms"
        echo "$without" >> "$work/boxes.ms"
        echo "$with $without" | awk '{ printf "%.4f\n", $1 / $2 }' >> "$work/ratios"
        run=$((run + 1))
    done
    awk -v p="${profile:---debug}" -v w="$(median "$work/slots.ms")" -v o="$(median "$work/boxes.ms")" \
        -v r="$(median "$work/ratios")" -v n="$runs" -v s="$slots" -v m="$methods" 'BEGIN {
        printf "%-9s %d slots of %d methods: %.2f s, with Box<dyn> %.2f s, ratio %.2f (medians of %d interleaved runs)\n", \
            substr(p, 3), s, m, w / 1000, o / 1000, r, n
    }'
done
