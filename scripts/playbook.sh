#!/usr/bin/env bash
# Runs ansible-playbook as somebody who may become root on this machine, or says what is missing.
# Usage: playbook.sh [PLAYBOOK [ansible-playbook's arguments]]
# Without a playbook it only says what is missing: tests run side by side, and for hours, where nobody can be asked.
set -euo pipefail
CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh

become=()
if [ "$(id -u)" -ne 0 ] && [ -z "${ANSIBLE_BECOME_PASSWORD_FILE:-}" ]; then
  if ! command -v sudo >/dev/null; then
    echo "The sandbox's machines need root: install sudo and let $(id -un) use it, or run as root." >&2
    exit 1
  # Without the password that a terminal was asked for a while ago: Ansible's sudo has another session.
  elif sudo -k -n true 2>/dev/null; then
    : # asks for no password
  elif [ -t 0 ]; then
    become=(--ask-become-pass)
  else
    echo "The sandbox's machines need root, and sudo asks $(id -un) for a password, but nobody can be asked for it here." \
      "Name a file that holds it in ANSIBLE_BECOME_PASSWORD_FILE, allow sudo without a password, or, for all but tests," \
      "run in a terminal." >&2
    exit 1
  fi
fi

[ $# -eq 0 ] || exec ansible-playbook "$@" "${become[@]}"
