# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units and settings that machines are given, and the unit of a machine on a host with systemd."""

from __future__ import annotations

NETWORK_UNIT_PATH = "etc/systemd/system/sandbox-network.service"
NETWORK_UNIT = """\
[Unit]
Description=Fixed address on the sandbox's bridge
DefaultDependencies=no
After=local-fs.target
Before=network.target network-pre.target ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/ip link set lo up
ExecStart=/usr/sbin/ip address replace {address}/{prefix} dev host0
ExecStart=/usr/sbin/ip link set host0 up
ExecStart=/usr/sbin/ip route replace default via {gateway}

[Install]
WantedBy=multi-user.target
"""


SSHD_CONFIG = """\
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
HostKey /etc/ssh/ssh_host_ed25519_key
UseDNS no
"""


# cgroup v1: nspawn mounts the controllers read-only; container runtimes write to them.
CGROUP_UNIT = """\
[Unit]
Description=Writable cgroup controllers for container runtimes
DefaultDependencies=no
After=local-fs.target
Before=containerd.service kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for c in /sys/fs/cgroup/*/; do mount -o remount,bind,rw "$c" || exit 1; done'

[Install]
WantedBy=multi-user.target
"""


HOST_UNIT = """\
[Unit]
Description=cicd.sandbox machine {machine} of {sandbox}

[Service]
ExecStart={run}
Delegate=yes
KillMode=mixed
TasksMax=infinity
DevicePolicy=auto
Slice=machine.slice
MemoryMax={memory}
"""
