#!/usr/bin/env bash
# Says where programs are that are for work on this checkout and not for a sandbox: a line for each.
# Usage: program.sh NAME…
set -euo pipefail
CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh

for name; do
  own=${name^^}_BINARY
  own=${own//-/_}
  found=
  # The catalogue's, with which all was tried, before one that the computer has.
  for made in /var/cache/cicd-sandbox/artifacts/*/*/"$name"; do
    [ ! -x "$made" ] || [ "$made" -ot "$found" ] || found=$made
  done
  command -v "${!own:-${found:-$name}}" || {
    echo "${!own:-$name} is not there: make tools TOOLS=${name%-keygen} makes it, or name one of yours: $own=/path/to/$name" >&2
    exit 2
  }
done
