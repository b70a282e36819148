#!/usr/bin/env bash
# Fuzzes every parser for PARSER_FUZZ_SECONDS each, with `cargo fuzz`. Does nothing, and says why, where that is not set
# or where the nightly toolchain or cargo-fuzz is not installed: nothing else here needs them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skip() {
    echo "parsers are not fuzzed: $1"
    exit 0
}

[ -n "${PARSER_FUZZ_SECONDS:-}" ] || skip "PARSER_FUZZ_SECONDS is not set"
cargo +nightly --version >/dev/null 2>&1 || skip "there is no nightly toolchain (rustup toolchain install nightly)"
cargo +nightly fuzz --version >/dev/null 2>&1 || skip "there is no cargo-fuzz (cargo install cargo-fuzz)"
command -v c++ >/dev/null || skip "there is no C++ compiler, which libFuzzer is built by (apt-get install g++)"

# Overflow checks and debug assertions are what finds faults here; safe Rust has little for a sanitizer to see.
for target in $(cargo +nightly fuzz list); do
    echo "== $target"
    cargo +nightly fuzz run --sanitizer none "$target" -- -max_total_time="$PARSER_FUZZ_SECONDS" -timeout=10 \
        -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1
done
