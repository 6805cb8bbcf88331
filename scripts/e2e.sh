#!/usr/bin/env bash
# Runs the end-to-end tests against the standing sandbox of an inventory.
# Usage: e2e.sh INVENTORY [pytest's arguments, and files of tests/e2e where not all of them are meant]
set -euo pipefail
CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh

inventory=$1
shift
. scripts/sandbox.sh
export SANDBOX_INVENTORY=$inventory SANDBOX_STATE_DIRECTORY=$sandbox_state SANDBOX_LOCAL_ENDPOINT_PORT=$sandbox_port
tests=(tests/e2e)
for argument; do
  [[ $argument != tests/e2e/* ]] || tests=()
done
exec pytest "${tests[@]}" "$@"
