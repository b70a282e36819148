#!/usr/bin/env bash
# Everything that is checked before a change lands: format, lints, documentation, the tests of both builds and engines,
# and fuzzing.
# Runs on a fresh Debian with rustup; installs by apt what the tests need besides, when it may.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf '\n== %s\n' "$*"
    local began=$SECONDS
    "$@"
    printf -- '-- %s s\n' $((SECONDS - began))
}

# What the tests and the benchmark scripts call, and the Debian package that brings it.
install_what_is_missing() {
    local missing=() need program package
    for need in cc:gcc c++:g++ nginx:nginx curl:curl wrk:wrk h2load:nghttp2-client openssl:openssl python3:python3 \
        unshare:util-linux setpriv:util-linux chromium:chromium chromedriver:chromium-driver \
        promtool:prometheus pebble:pebble strace:strace systemd-analyze:systemd; do
        program=${need%%:*} package=${need##*:}
        # Debian keeps servers out of an ordinary user's search path.
        PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("$package")
    done
    # A virtual environment needs a part of Python that Debian keeps apart.
    python3 -c "import ensurepip" 2>/dev/null || missing+=(python3-venv)
    [ ${#missing[@]} -eq 0 ] && return
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            echo "please install as root: apt-get install ${missing[*]}" >&2
            exit 1
        }
        as_root=(sudo)
    fi
    step "${as_root[@]}" apt-get update -qq
    step "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# A shell that did not read the profile since rustup was installed does not know cargo yet.
if ! command -v cargo >/dev/null && [ -f "$HOME/.cargo/env" ]; then
    # shellcheck source=/dev/null
    . "$HOME/.cargo/env"
fi

install_what_is_missing
step tests/peers/install.sh
step cargo fmt --check
step cargo fmt --manifest-path fuzz/Cargo.toml --check
step cargo clippy --all-targets -- -D warnings
# All that the portable build compiles differently is in the library and the program.
step cargo clippy --lib --bins --no-default-features -- -D warnings
# The fuzz targets are a package of their own, which follows every rename; the lints find its crates checked already.
step env CARGO_TARGET_DIR=target cargo clippy --manifest-path fuzz/Cargo.toml --all-targets -- -D warnings
# What users start is optimised, which the compiler may refuse where it takes the build of the tests.
step cargo build --release --features fast
# The documentation is for contributors, so that it may name private items; URLs in the help of commands are plain text.
step env RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links -A rustdoc::bare_urls" \
    cargo doc --no-deps --document-private-items --quiet
# Tests wait for processes and sockets most of the time, so that three times as many as there are cores run at once.
RUST_TEST_THREADS=$((3 * $(nproc)))
export RUST_TEST_THREADS
# The simulated world runs with ten times as many seeds as in a plain run of the tests.
step env PALANTIR_SIM_SEEDS=20000 cargo test --lib --bins --test tidy

# The tests over sockets, which start target/debug/palantir, whichever build that is.
step cargo test --test it --no-run
over_sockets=$(cargo test --test it --no-run 2>&1 | sed -n 's/^ *Executable tests.*(\(.*\))$/\1/p')

# Runs tests over sockets. A few tests that fail are run once more, one by one. A test that passes then depends on how
# busy the machine is: the last line names it, so that it is mended.
run_over_sockets() {
    local log=target/over_sockets.log failed test
    CARGO_MANIFEST_DIR=$PWD "$over_sockets" "$@" 2>&1 | tee "$log" && return
    mapfile -t failed < <(sed -n '/^failures:$/,$s/^    \([a-z0-9_:]\+\)$/\1/p' "$log" | sort -u)
    [ ${#failed[@]} -gt 0 ] && [ ${#failed[@]} -le 3 ] || return 1
    for test in "${failed[@]}"; do
        CARGO_MANIFEST_DIR=$PWD "$over_sockets" --exact "$test" || return 1
    done
    echo "passed only when they ran alone: ${failed[*]}"
}

# On io_uring where the machine has it.
step run_over_sockets
step tests/fuzz_api.sh
step tests/fuzz_parsers.sh

# What runs on the control thread alone does not depend on the engine of the workers, and has run above.
control_thread=(documentation:: management:: tls::acme tls::certificates tls::client_tickets tls::transient_errors)
for subject in access_log_files clock_walk command_line configuration_file disk_walk hanging_disk program_log \
    special_files start_alike start_check systemd upgrade_; do
    control_thread+=("operation::$subject")
done
# The same build on a machine without io_uring.
PALANTIR_ENGINE=epoll step run_over_sockets "${control_thread[@]/#/--skip=}"
# The portable build differs from that in its allocator alone, on which memory and its bounds depend.
step cargo build --no-default-features
step run_over_sockets limits:: wire:: http2::
