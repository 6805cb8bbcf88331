#!/usr/bin/env bash
# Runs sops, and says what is missing where it can't open a file. Ansible calls it for each *.sops.yml of an inventory, once a run.
# Usage: sops.sh ARGUMENT…   sops' own: edit FILE, decrypt FILE, updatekeys FILE, …
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/environment.sh"

sops=$("$root/scripts/program.sh" sops) || exit 127
keys=${SOPS_AGE_KEY_FILE:-${XDG_CONFIG_HOME:-$HOME/.config}/sops/age/keys.txt}

code=0
"$sops" "$@" || code=$?
case $code in
  # An editor that was left without a change.
  200) exit 0 ;;
  128)
    file=${*: -1}
    {
      echo
      echo "$file is encrypted to $(grep -oE '\bage1[0-9a-z]{50,}' "$file" 2>/dev/null | sort -u | paste -sd ' ' || echo nobody)."
      if [ ! -e "$keys" ]; then
        echo "$keys, which has this computer's key, is missing."
      else
        echo "$keys has the key of $(sed -n 's/^# public key: //p' "$keys" | paste -sd ' ')."
      fi
      echo "Copy a key that opens it there, or have somebody who has one let yours in: docs/how-to/secrets-in-git.md"
    } >&2
    ;;
esac
exit "$code"
