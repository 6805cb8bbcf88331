"""Remembers what this computer is like, and says later what has become different, a difference a line.

Usage: host_state.py remember FILE, then host_state.py compare FILE, which ends with 1 when there is any difference. It
looks from outside, as traces.py. What changes by itself (counters, entropy, name servers) is left out; and what comes
with packages that were installed for sandboxes and that make clean removes, where there are any.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc/sys")
RECORD = Path("/var/cache/cicd-sandbox/host-packages.json")
# The kernel writes these itself, or they are about one interface.
BY_ITSELF = re.compile(
    r"fs\.(dentry-state|file-nr|inode-nr|inode-state|quota\.)|kernel\.(ns_last_pid|pty\.nr|random\.|tainted|sched_domain)"
    r"|net\.(ipv[46]\.(conf|neigh)\.(?!all\.|default\.)|.*\.stat|ipv4\.tcp_fastopen_key|netfilter\.nf_conntrack_count)"
    r"|vm\.(drop_caches|compact_memory|stat_refresh)"
)
# The kernel loads them when a link, a filter or a file system is asked for, and keeps them until the next boot.
ON_DEMAND = re.compile(
    r"(nf|nft|xt|ip6?t|ebt|ip_set|ip_vs|br|tcp|udp|ip6)_|(ip6?_?tables|veth|bridge|stp|llc|overlay|vxlan|dummy|crc|lib)"
)
# What a package brings with it.
OF_PACKAGES = {"etc", "users", "groups", "cron", "units"}


def lines(*command: str) -> list[str]:
    """What a program says; nothing where it is not there or refuses."""
    if shutil.which(command[0]) is None:
        return []
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines()


def sysctls() -> dict[str, str]:
    found = {}
    for path in PROC.rglob("*"):
        name = ".".join(path.relative_to(PROC).parts)
        with suppress(OSError, UnicodeDecodeError):
            if not BY_ITSELF.match(name) and path.is_file() and path.stat().st_mode & 0o200:
                found[name] = path.read_text().strip()
    return found


def files(*roots: str) -> dict[str, str]:
    """Path → mode and a digest of the content, or where a link leads."""
    found = {}
    for root in roots:
        for path in [Path(root), *Path(root).rglob("*")]:
            with suppress(OSError):
                mode = stat.filemode(path.lstat().st_mode)
                if path.is_symlink():
                    found[str(path)] = f"{mode} {path.readlink()}"
                elif path.is_file():
                    found[str(path)] = f"{mode} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    return found


def devices() -> dict[str, str]:
    found = {}
    for path in Path("/dev").rglob("*"):
        with suppress(OSError):
            status = path.lstat()
            if (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)) and path.parts[2] not in {"pts", "tty"}:
                found[str(path)] = f"{stat.filemode(status.st_mode)} {status.st_uid} {status.st_gid}"
    return found


def named(names: list[str]) -> dict[str, str]:
    return dict.fromkeys(names, "there")


def state() -> dict[str, dict[str, str]]:
    """What there is, by kinds: name → what it is like."""
    links = json.loads("\n".join(lines("ip", "-json", "address")) or "[]")
    modules = Path("/proc/modules")
    # The slice of machines itself is systemd's, which keeps it when the last of them has gone.
    groups = re.compile(r"cicd-sandbox|kubepods|nspawn|/machine(?!\.slice$)")
    return {
        "sysctls": sysctls(),
        "modules": named([line.split()[0] for line in modules.read_text().splitlines()] if modules.exists() else []),
        "packages": dict(
            line.split("\t")
            for line in lines("dpkg-query", "--show", "--showformat=${Package}\\t${db:Status-Status}\\n")
        ),
        "users": dict(line.split(":", 1) for line in Path("/etc/passwd").read_text().splitlines()),
        "groups": dict(line.split(":", 1) for line in Path("/etc/group").read_text().splitlines()),
        "cron": files("/etc/crontab", "/etc/cron.d", "/etc/cron.daily", "/etc/cron.hourly", "/var/spool/cron"),
        "units": files("/etc/systemd", "/run/systemd/system", "/run/systemd/transient", "/usr/local/lib/systemd"),
        "etc": {
            path: what for path, what in files("/etc").items() if not path.endswith(("/mtab", "/resolv.conf", "-"))
        },
        "nftables": named(lines("nft", "--stateless", "list", "ruleset")),
        "iptables": {
            table: "\n".join(lines(f"{program}-save", "-t", table))
            for program, family in (("iptables-legacy", "ip"), ("ip6tables-legacy", "ip6"))
            for table in (
                Path(f"/proc/net/{family}_tables_names").read_text().split()
                if Path(f"/proc/net/{family}_tables_names").exists()
                else []
            )
        },
        "ipsets": named(lines("ipset", "list", "-name")),
        "links": {
            link["ifname"]: ", ".join(sorted(item["local"] for item in link.get("addr_info", []))) for link in links
        },
        "routes": named(lines("ip", "route", "show", "table", "all") + lines("ip", "rule", "show")),
        "namespaces": named([str(path) for path in Path("/run/netns").glob("*")]),
        "mounts": named([line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]),
        "cgroups": named([path for path, *_ in os.walk("/sys/fs/cgroup") if groups.search(path)]),
        "devices": devices(),
    }


def differences(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]], for_sandboxes: set[str]
) -> list[str]:
    """Say what is another, new or gone; ``for_sandboxes`` are the packages of make clean."""
    new = {name for name in after["packages"] if name not in before["packages"]}
    found = []
    for kind, things in after.items():
        if kind in OF_PACKAGES and new & for_sandboxes:
            continue
        for name in sorted({*things, *before[kind]}):
            old, now = before[kind].get(name), things.get(name)
            if old == now:
                continue
            # A setting comes and goes with its module.
            appears = kind == "sysctls" and None in {old, now}
            expected = kind == "packages" and name in for_sandboxes
            if not appears and not expected and not (kind == "modules" and ON_DEMAND.match(name)):
                found.append(f"{kind}: {name}: {old or 'not there'} -> {now or 'gone'}")
    return found


def main() -> int:
    what, file = sys.argv[1], Path(sys.argv[2])
    if what == "remember":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(state()))
        return 0
    for_sandboxes = set(json.loads(RECORD.read_text())) if RECORD.exists() else set()
    found = differences(json.loads(file.read_text()), state(), for_sandboxes)
    sys.stdout.write("".join(f"{difference}\n" for difference in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
