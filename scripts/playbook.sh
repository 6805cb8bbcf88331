#!/usr/bin/env bash
# Runs ansible-playbook as somebody who may become root on this machine, or says what is missing.
# Usage: playbook.sh PLAYBOOK [ansible-playbook's arguments]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

become=()
if [ "$(id -u)" -ne 0 ] && [ -z "${ANSIBLE_BECOME_PASSWORD_FILE:-}" ]; then
  if ! command -v sudo >/dev/null; then
    echo "The sandbox's machines need root: install sudo and let $(id -un) use it, or run as root." >&2
    exit 1
  elif sudo -n true 2>/dev/null; then
    : # asks for no password
  elif [ -t 0 ]; then
    become=(--ask-become-pass)
  else
    echo "The sandbox's machines need root, and sudo asks $(id -un) for a password, but there is no terminal to ask on." \
      "Run in a terminal, allow sudo without a password, or name a file in ANSIBLE_BECOME_PASSWORD_FILE." >&2
    exit 1
  fi
fi

exec ansible-playbook "$@" "${become[@]}"
