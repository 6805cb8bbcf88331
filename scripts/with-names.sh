#!/usr/bin/env bash
# Runs a command to which this computer knows the hosts of an inventory by name, as a user's DNS would: it sees another
# /etc/hosts, nobody else does. Ends as the command ended.
# Usage: with-names.sh INVENTORY COMMAND [ARGUMENT…]
# For what has to run as the computer is without them, WITH_NAMES_OUTSIDE names its mount namespace (nsenter --mount).
set -euo pipefail

# As it calls itself in the namespace of its own: --inside FILE COMMAND…
if [ "$1" = --inside ]; then
  mount --bind "$2" /etc/hosts
  shift 2
  exec "$@"
fi

[ "$(id -u)" -eq 0 ] ||
  exec sudo "PATH=$PATH" "HOME=$HOME" "ANSIBLE_CONFIG=${ANSIBLE_CONFIG:-}" "$0" "$@"

inventory=$1
shift
names=$(mktemp)
trap 'rm --force "$names"' EXIT
cat /etc/hosts >"$names"
ansible-inventory --inventory "$inventory" --list | python3 -c '
import json, sys
for name, variables in json.load(sys.stdin)["_meta"]["hostvars"].items():
    if "ansible_host" in variables:
        print(variables["ansible_host"], name)' >>"$names"
chmod a+r "$names"

export WITH_NAMES_OUTSIDE=/proc/$$/ns/mnt
unshare --mount -- "$0" --inside "$names" "$@"
