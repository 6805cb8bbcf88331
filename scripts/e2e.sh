#!/usr/bin/env bash
# Runs the end-to-end tests against the standing sandbox of an inventory.
# Usage: e2e.sh INVENTORY [pytest's arguments]
set -euo pipefail
CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh

inventory=$1
shift
# Name, port and state directory as the inventory says, or as role sandbox has them.
read -r name port state < <(ansible-inventory -i "$inventory" --host localhost | python3 -c '
import json, os, sys
facts = json.load(sys.stdin)
name = facts.get("sandbox_name", "dev")
state = facts.get("sandbox_state_directory", f"~/.local/state/cicd-sandbox/{name}")
print(name, facts.get("sandbox_local_endpoint_port", 8080), os.path.expanduser(state))')
[ -e "$state/kubeconfig" ] || {
  echo "No sandbox '$name' stands ($state/kubeconfig is missing): make up INVENTORY=$inventory" >&2
  exit 1
}

export SANDBOX_INVENTORY=$inventory SANDBOX_STATE_DIRECTORY=$state SANDBOX_LOCAL_ENDPOINT_PORT=$port
exec pytest tests/e2e "$@"
