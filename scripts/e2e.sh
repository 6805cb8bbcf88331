#!/usr/bin/env bash
# Runs the end-to-end tests against the standing sandbox of an inventory.
# Usage: e2e.sh INVENTORY [pytest's arguments]
set -euo pipefail
CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh

inventory=$1
shift
. scripts/sandbox.sh
export SANDBOX_INVENTORY=$inventory SANDBOX_STATE_DIRECTORY=$sandbox_state SANDBOX_LOCAL_ENDPOINT_PORT=$sandbox_port
exec pytest tests/e2e "$@"
