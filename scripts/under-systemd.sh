#!/usr/bin/env bash
# Runs a command as this computer would with systemd as its PID 1: boots a copy-on-write view of the computer's own root
# file system, runs the command in it, in this directory, and throws the view away. Ends as the command ended.
# Usage: under-systemd.sh COMMAND [ARGUMENT…]
# In the view: this checkout and the cache are the real ones; the network's only uplink leads nowhere. What sandboxes of
# this user found outside, where they could ask, is told: SANDBOX_RELEASES_FOUND.
set -euo pipefail
CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh

cache=/var/cache/cicd-sandbox
[ "$(id -u)" -eq 0 ] || exec sudo "PATH=$PATH" "HOME=$HOME" "$0" "$@"
command -v systemd-nspawn >/dev/null || {
  echo "systemd-nspawn is missing; make up installs it, or: apt-get install systemd-container" >&2
  exit 1
}

# What is mounted below is seen in this mount namespace only, and goes with it.
[ "${UNDER_SYSTEMD_NAMESPACE:-}" ] || UNDER_SYSTEMD_NAMESPACE=1 exec unshare --mount -- "$0" "$@"

name=under-systemd-$$
console=$(mktemp --suffix=.log)
# An overlay can't carry the machines' overlays: they lie on the disk. Who holds a directory's lock is alive: those of
# runs that were killed go.
for left in /var/lib/cicd-sandbox-view.*; do
  [ ! -d "$left" ] || flock --nonblock "$left" rm --recursive --force --one-file-system "$left" || true
done
library=$(mktemp --directory /var/lib/cicd-sandbox-view.XXXXXX)
exec {lock}<"$library"
flock "$lock"
# Not the directory with the lock: a run in the view locks its own.
mkdir "$library/machines"
nspawn=
finish() {
  [ -z "$nspawn" ] || { kill "$nspawn" && wait "$nspawn"; } 2>/dev/null || true
  rm --recursive --force --one-file-system "$library" "$console"
}
trap finish EXIT

mount -t tmpfs tmpfs /mnt
mkdir /mnt/{upper,work,root}
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
mkdir -p "$cache"
# A name server that can't be reached would cost every look-up its time.
rm --force /mnt/root/etc/resolv.conf
touch /mnt/root/etc/resolv.conf

# The view ends with this script, also where that is killed. It does not change the mode of the kernel's log.
SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes setpriv --pdeathsig TERM systemd-nspawn --quiet --boot --register=no --keep-unit --link-journal=no \
  --machine="$name" --directory=/mnt/root --private-network --capability=all --bind-ro=/dev/kmsg --resolv-conf=off \
  --timezone=off --console=pipe --system-call-filter=bpf --bind="$PWD" --bind="$cache" \
  --bind="$library/machines:/var/lib/cicd-sandbox" systemd.unit=basic.target >"$console" 2>&1 </dev/null &
nspawn=$!

inside() {
  nsenter --target "$(pgrep --parent "$nspawn" --exact systemd)" --mount --uts --ipc --net --pid --cgroup -- "$@"
}
for _ in $(seq 150); do
  inside test -S /run/systemd/private 2>/dev/null && break
  kill -0 "$nspawn" 2>/dev/null || break
  sleep 0.2
done
state=$(inside systemctl is-system-running --wait 2>&1) || true
[ "$state" = running ] || {
  echo "systemd did not come up in the view of this computer: $state" >&2
  inside systemctl --failed --no-legend >&2 || true
  tail --lines=20 "$console" >&2
  exit 1
}
inside ip -batch - <<'UPLINK'
link add uplink type veth peer name nowhere
link set nowhere up
address add 192.0.2.2/24 dev uplink
link set uplink up
route add default via 192.0.2.1
UPLINK
releases=
grep --quiet --no-messages '"source": "release"' "$HOME"/.local/state/cicd-sandbox/*/artifacts-source.json && releases=yes
inside systemd-run --quiet --pipe --wait --collect --working-directory="$PWD" --setenv="PATH=$PATH" \
  --setenv="HOME=$HOME" --setenv="SANDBOX_RELEASES_FOUND=$releases" \
  --setenv="ANSIBLE_CONFIG=${ANSIBLE_CONFIG:-$PWD/ansible.cfg}" -- "$@"
