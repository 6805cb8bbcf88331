#!/usr/bin/env bash
# Makes the key that opens secrets in git, where sops looks for it, and has sops encrypt to it. A key that is there stays.
# Usage: secrets-key.sh
set -euo pipefail
CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh
umask 077

die() {
  printf 'secrets-key: %s\n' "$@" >&2
  exit 1
}

keygen=$(scripts/program.sh age-keygen)
keys=$(realpath -m -- "${SOPS_AGE_KEY_FILE:-${XDG_CONFIG_HOME:-$HOME/.config}/sops/age/keys.txt}")
[[ $keys != "$PWD"/* ]] || die "$keys is in the checkout, and would be in git one day: name a file elsewhere in SOPS_AGE_KEY_FILE."

if [ ! -e "$keys" ]; then
  mkdir -p -- "$(dirname "$keys")"
  # It makes a file that was not there, and refuses to write in another.
  "$keygen" -o "$keys" 2>/dev/null || die "$keys can't be written."
  echo "Made $keys. Keep a copy where this computer's loss does not take it: what is encrypted to it alone, nobody can open without."
fi
mode=$(stat --dereference --format=%a -- "$keys")
[ $((0$mode & 077)) -eq 0 ] || die "others can read $keys (0$mode): chmod 600 $keys"

mapfile -t recipients < <("$keygen" -y "$keys")
[ "${#recipients[@]}" -gt 0 ] || die "$keys has no key of age's."
if [ ! -e .sops.yaml ]; then
  umask 022
  cat >.sops.yaml <<RULES
# Whose keys open what sops encrypts from now on. For files that are there: scripts/sops.sh updatekeys FILE
creation_rules:
  - path_regex: \.sops\.(ya?ml|json)$
    age:
      - ${recipients[0]}
RULES
  echo "Made .sops.yaml, which has sops encrypt to it: commit that."
fi
for recipient in "${recipients[@]}"; do
  if grep --quiet --fixed-strings "$recipient" .sops.yaml; then
    echo "Yours is $recipient; .sops.yaml has it."
    exit
  fi
done
die "yours is ${recipients[0]}, which .sops.yaml does not have." \
  "Add it there, and have somebody whose key is in it run, for each file: scripts/sops.sh updatekeys FILE"
