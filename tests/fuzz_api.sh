#!/usr/bin/env bash
# Fuzzes the management API of a running palantir by its own description, with schemathesis: no answer of 500 or above,
# and none that the description does not foresee. FUZZ_EXAMPLES says how many requests are made up per operation (20);
# FUZZ_SECONDS, if it is set, how long to go on making up more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VERSION=4.32.5
readonly EXAMPLES=${FUZZ_EXAMPLES:-20}
readonly TOOLS=$PWD/target/schemathesis-$VERSION
readonly PROGRAM=${1:-$PWD/target/debug/palantir}
readonly SETTINGS=$PWD/tests/schemathesis.toml
# An address of this run's own, so that two of them do not meet.
readonly HOST=127.$((RANDOM % 200 + 20)).$((RANDOM % 250)).$((RANDOM % 250 + 1))

if ! [ -x "$TOOLS/bin/st" ]; then
    python3 -m venv "$TOOLS"
    "$TOOLS/bin/pip" install --quiet "schemathesis==$VERSION"
fi

directory=$(mktemp -d)
cat >"$directory/config.toml" <<TOML
listen_addr = "$HOST:8080"
[admin]
listen_addr = "$HOST:8687"
state_file = "$directory/state.json"
[test_server]
listen_addrs = ["$HOST:9001", "$HOST:9002"]
[[routes]]
pool = "api"
[[routes]]
prefix = "/own"
backend_addrs = ["$HOST:9002"]
[[pools]]
name = "api"
backends = ["$HOST:9001"]
TOML

"$PROGRAM" --config "$directory/config.toml" 2>"$directory/log" &
palantir=$!
cleanup() {
    kill "$palantir" 2>/dev/null || true
    wait "$palantir" 2>/dev/null || true
    rm -rf "$directory"
}
trap cleanup EXIT

# Not asked for: the stream of events, which never ends, and the upgrade, after which another process answers.
# Which values fit together is not in the schemas (hash_on only with consistent_hash), so that a value of the right form
# is refused is no failure.
outcome=0
cd "$directory" # Where it keeps what it found.
"$TOOLS/bin/st" --config-file "$SETTINGS" run "http://$HOST:8687/openapi.json" \
    --wait-for-schema 20 --exclude-path /events --exclude-path /upgrade \
    --phases examples,coverage,fuzzing --checks all --exclude-checks positive_data_acceptance \
    --max-examples "$EXAMPLES" ${FUZZ_SECONDS:+--max-time "$FUZZ_SECONDS"} --request-timeout 20 \
    --suppress-health-check all --generation-database none --continue-on-failure --warnings off \
    --no-color || outcome=$?
if ! kill -0 "$palantir" 2>/dev/null; then
    echo "palantir ended:" >&2
    tail -20 "$directory/log" >&2
    exit 1
fi
exit "$outcome"
