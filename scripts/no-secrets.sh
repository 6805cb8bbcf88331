#!/usr/bin/env bash
# Refuses plain secrets in what git has or is about to have. Says file, line and rule of each, and never the secret.
# Usage: no-secrets.sh             the checkout, with what is not committed yet, and the commits that led to it
#        no-secrets.sh --staged    what `git commit` is about to take, as git's hook calls it
# Rules, and what is excepted from them, are in .gitleaks.toml. Ends with 1 where there is a secret, 2 where nobody could look.
set -euo pipefail
CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.."
# git names to its hooks an index of their own where not all that is staged is committed, or more.
index=${GIT_INDEX_FILE:-}
. scripts/environment.sh

die() {
  printf 'no-secrets: %s\n' "$@" >&2
  exit 2
}

# Differences as gitleaks reads them, whatever a user's git shows; a file that was only renamed is looked at anew.
plain_differences() {
  local settings=(color.ui=false diff.noprefix=false diff.mnemonicPrefix=false diff.renames=false diff.relative=false
    diff.algorithm=myers log.showSignature=false format.pretty=medium core.quotePath=false)
  local number
  export GIT_CONFIG_COUNT=${#settings[@]} GIT_PAGER=cat
  for number in "${!settings[@]}"; do
    export "GIT_CONFIG_KEY_$number=${settings[number]%%=*}" "GIT_CONFIG_VALUE_$number=${settings[number]#*=}"
  done
}

# What is found ends with the lines of the report; gitleaks' own words only tell what went wrong.
REPORT='{{range .}}{{.File}}:{{.StartLine}}: {{.RuleID}}: {{.Description}}{{with .Commit}} (commit {{trunc 12 .}}){{end}}
{{end}}'

# Takes gitleaks' further arguments; gives 1 where there is a secret.
look() {
  local code=0
  "$gitleaks" git --config=.gitleaks.toml --ignore-gitleaks-allow --redact --no-banner --no-color --log-level=error \
    --exit-code=3 --report-format=template --report-template=<(printf '%s' "$REPORT") \
    --report-path=- "$@" . || code=$?
  case $code in
    0) return 0 ;;
    3) return 1 ;;
    *) die "gitleaks ended with $code, and has not looked at all." ;;
  esac
}

# All files that are in git or would be, read as if they were new. A repository beside the checkout's, which stays as it is.
look_at_files() {
  local git=$directory/git
  git init --quiet --bare "$git" || die "git can't write in $directory."
  GIT_DIR=$git GIT_WORK_TREE=$PWD git add --all . || die "git can't read $PWD."
  GIT_DIR=$git GIT_WORK_TREE=$PWD look --staged
}

look_at_history() {
  [ -e .git ] || return 0
  git rev-parse --git-dir >/dev/null || die "git can't read the history of $PWD."
  # There may be no commit yet.
  git rev-parse --quiet --verify HEAD >/dev/null || return 0
  look --log-opts="--no-ext-diff --no-textconv --full-history --diff-merges=first-parent --diff-filter=tuxdb HEAD"
}

gitleaks=$(scripts/program.sh gitleaks)
case ${1:-} in
  --staged | '') ;;
  *) die "what is ${1@Q}? See the head of ${BASH_SOURCE[0]}." ;;
esac

[ ! -e .gitleaksignore ] || die ".gitleaksignore excepts lines without a reason: move them to .gitleaks.toml, which has one."
plain_differences
if [ "${1:-}" = --staged ]; then
  [ -z "$index" ] || export GIT_INDEX_FILE=$index
  look --staged && exit
  remedy="Nothing was committed. Take it out of the file, or encrypt it"
else
  directory=$(mktemp -d "${TMPDIR:-/tmp}/no-secrets.XXXXXX")
  trap 'rm -rf -- "$directory"' EXIT
  clean=true
  look_at_files || clean=false
  look_at_history || clean=false
  if $clean; then
    exit
  fi
  remedy="What others may have seen in a commit is known: change the secret where it counts, then take it out or encrypt it"
fi
printf '%s\n' '' "$remedy: docs/how-to/secrets-in-git.md." \
  "What is no secret is made to look like none, or excepted in .gitleaks.toml, with the reason." >&2
exit 1
