#!/usr/bin/env bash
# Runs make targets one after the other and ends with a line for each: passed or failed, and how long it took.
# Usage: stages.sh [--keep-going] TARGET…   Without --keep-going nothing runs after a failure. Fails if one failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

keep_going=false
if [ "${1:-}" = --keep-going ]; then
  keep_going=true
  shift
fi

summary=()
failed=false
for target in "$@"; do
  if $failed && ! $keep_going; then
    summary+=("$(printf '%-18s not run' "$target")")
    continue
  fi
  printf '\n==> %s  (%s)\n' "$target" "$(date +%T)"
  started=$SECONDS
  verdict=passed
  "${MAKE:-make}" --no-print-directory "$target" || { verdict=FAILED && failed=true; }
  summary+=("$(printf '%-18s %-7s %3d:%02d min' "$target" $verdict $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60)))")
done

printf '\n'
printf '    %s\n' "${summary[@]}"
! $failed
