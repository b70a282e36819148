#!/usr/bin/env bash
# Puts the Python packages that the tests speak to into a virtual environment, target/peers, unless they are there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly WANTED=tests/peers/requirements.txt
readonly HOME_OF_PEERS=target/peers

mkdir -p target
exec 9>target/peers.lock
flock 9
cmp -s "$WANTED" "$HOME_OF_PEERS/installed.txt" && exit
python3 -m venv --clear "$HOME_OF_PEERS"
"$HOME_OF_PEERS/bin/pip" install --quiet --disable-pip-version-check -r "$WANTED"
cp "$WANTED" "$HOME_OF_PEERS/installed.txt"
