#!/usr/bin/env bash
# Fuzzes every parser for PARSER_FUZZ_SECONDS each (10), or only the targets that are named as arguments, beginning with
# the committed corpus of each. Installs cargo-fuzz where it is missing. What the fuzzer makes up goes to fuzz/found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SECONDS_EACH=${PARSER_FUZZ_SECONDS:-10}
# Overflow checks and debug assertions are what finds faults here; safe Rust has little for a sanitizer to see. Without a
# sanitizer the stable toolchain suffices.
readonly BUILD=(--sanitizer none)
readonly BUILT=fuzz/target/$(rustc -vV | sed -n 's/^host: //p')/release

command -v c++ >/dev/null || {
    echo "the parsers cannot be fuzzed: there is no C++ compiler, which libFuzzer is built by (apt-get install g++)" >&2
    exit 1
}
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked || {
    echo "the parsers cannot be fuzzed: cargo-fuzz is not there and cannot be installed" >&2
    exit 1
}

cargo fuzz build "${BUILD[@]}"
if [ $# -eq 0 ]; then
    mapfile -t targets < <(cargo fuzz list)
else
    targets=("$@")
fi

# Fuzzes one target, and shows the end of what the fuzzer says where it finds something.
fuzz() {
    local target=$1 log=fuzz/found/$1.log
    [ -n "$(ls -A "fuzz/corpus/$target" 2>/dev/null)" ] || {
        echo "fuzz/corpus/$target: there is no corpus for this target" >&2
        return 1
    }
    mkdir -p "fuzz/found/$target" "fuzz/artifacts/$target"
    "$BUILT/$target" -max_total_time="$SECONDS_EACH" -timeout=30 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$target/" "fuzz/found/$target" "fuzz/corpus/$target" >"$log" 2>&1 || {
        tail -50 "$log" >&2
        return 1
    }
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs in $SECONDS_EACH s"
}
export -f fuzz
export BUILT SECONDS_EACH

# As many at once as there are cores; a failure of one ends with a status other than 0.
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I TARGET bash -c 'fuzz TARGET'
