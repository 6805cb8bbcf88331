# shellcheck shell=bash
# Read by scripts that work on a standing sandbox: gives sandbox_name, sandbox_port and sandbox_state (its state directory), as
# the inventory in $inventory says, or as role sandbox has them; ends where no such sandbox stands.
read -r sandbox_name sandbox_port sandbox_state < <(ansible-inventory -i "${inventory:?}" --host localhost | python3 -c '
import json, os, sys
facts = json.load(sys.stdin)
name = facts.get("sandbox_name", "dev")
state = facts.get("sandbox_state_directory", f"~/.local/state/cicd-sandbox/{name}")
print(name, facts.get("sandbox_local_endpoint_port", 8080), os.path.expanduser(state))')
[ -e "$sandbox_state/kubeconfig" ] || {
  echo "No sandbox '$sandbox_name' stands ($sandbox_state/kubeconfig is missing): make up INVENTORY=$inventory" >&2
  exit 1
}
export sandbox_name sandbox_port sandbox_state
