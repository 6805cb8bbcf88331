#!/usr/bin/env bash
# Runs stages one after the other and ends with a line for each make target: passed or failed, and how long it took.
# Usage: stages.sh [--keep-going] STAGE…   A stage is a target, or several that run side by side: lint+unit.
# Without --keep-going nothing runs after a stage that failed. Fails if one failed.
set -euo pipefail
CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh

keep_going=false
if [ "${1:-}" = --keep-going ]; then
  keep_going=true
  shift
fi

summary=()
failed=false

run_target() {
  "${MAKE:-make}" --no-print-directory "$1"
}

# Takes run_target's exit code.
note() {
  local target=$1 verdict=passed took=$((SECONDS - started))
  [ "$2" -eq 0 ] || { verdict=FAILED && failed=true; }
  summary+=("$(printf '%-18s %-7s %3d:%02d min' "$target" $verdict $((took / 60)) $((took % 60)))")
}

# Each line carries its target's name. A process group each, so that all of it ends when this script is interrupted.
side_by_side() {
  local target pid code pids
  local -A running=()
  set -m
  for target; do
    { run_target "$target" </dev/null 2>&1 | sed --unbuffered "s/^/$target | /"; } &
    running[$!]=$target
  done
  set +m
  pids=("${!running[@]}")
  trap 'kill -- "${pids[@]/#/-}" 2>/dev/null; exit 130' INT TERM
  while [ "${#running[@]}" -gt 0 ]; do
    code=0
    wait -n -p pid "${!running[@]}" || code=$?
    note "${running[$pid]}" "$code"
    unset "running[$pid]"
  done
  trap - INT TERM
}

for stage in "$@"; do
  if $failed && ! $keep_going; then
    summary+=("$(printf '%-18s not run' "$stage")")
    continue
  fi
  IFS=+ read -ra targets <<<"$stage"
  started=$SECONDS
  printf '\n==> %s  (%s)\n' "${targets[*]}" "$(date +%T)"
  if [ "${#targets[@]}" -gt 1 ]; then
    side_by_side "${targets[@]}"
  else
    code=0
    run_target "$stage" || code=$?
    note "$stage" "$code"
  fi
done

printf '\n'
printf '    %s\n' "${summary[@]}"
! $failed
