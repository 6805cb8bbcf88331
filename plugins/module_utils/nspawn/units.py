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


# The host's kernel is one for all: /proc/sys is read-only in a machine but for its own network. A kubelet wants to find
# what is in KERNEL_VIEW, and would write what it does not find; it finds files of the machine's own. It also reads the
# kernel's log, of which it would take what befell other machines for its own: it reads nothing.
# As runtimes of containers hide them: they tell of all of the host, or do something to it.
KERNEL_HIDDEN = ("/proc/kcore", "/proc/keys", "/proc/sysrq-trigger", "/proc/timer_list")
KERNEL_UNIT_PATH = "etc/systemd/system/sandbox-kernel.service"
KERNEL_VIEW_PATH = "etc/cicd-sandbox/proc-sys"
KERNEL_UNIT = f"""\
[Unit]
Description=The machine's own view of what belongs to the host's kernel
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target systemd-sysctl.service containerd.service kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
WorkingDirectory=/{KERNEL_VIEW_PATH}
ExecStart=/bin/ln --symbolic --force null /dev/kmsg
ExecStart=/bin/sh -ec 'for f in {" ".join(KERNEL_HIDDEN)}; do [ ! -e $$f ] || mount --bind /dev/null $$f; done'
ExecStart=/bin/sh -ec 'for f in $$(find * -type f); do [ ! -e /proc/sys/$$f ] || mount --bind $$f /proc/sys/$$f; done'

[Install]
WantedBy=multi-user.target
"""

# What kubelets set, see setupKernelTunables in pkg/kubelet/cm/container_manager_linux.go.
KERNEL_VIEW = {
    "kernel/keys/root_maxbytes": "25000000",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}


HOST_UNIT = """\
[Unit]
Description=cicd.sandbox machine {machine} of {sandbox}

[Service]
ExecStart={run}
Delegate=yes
KillMode=mixed
TasksMax=infinity
{devices}
Slice=machine.slice
MemoryMax={memory}
"""

# cgroup v2: of the host's devices those that containers have everywhere, see systemd.resource-control(5).
DEVICES = """\
DevicePolicy=closed
DeviceAllow=char-pts rw
DeviceAllow=/dev/net/tun rwm"""
# cgroup v1: in a group that is closed runc can't start a privileged container.
LEGACY_DEVICES = "DevicePolicy=auto"
