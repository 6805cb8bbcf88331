# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what a host has to have."""

from __future__ import annotations

DOCUMENTATION = r"""
name: preflight_needs
short_description: Say what a host needs for the machines that it is, or that are made on it
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - The controller, C(localhost), needs the sum of what the machines need that are made on it, and room for artifacts.
    Any other host needs what its own groups need.
positional: host, made, requirements
options:
  _input:
    description: The inventory's groups and their hosts.
    type: dict
    required: true
  host:
    description: The host; C(localhost) is the controller.
    type: str
    required: true
  made:
    description: The machines that are made on the controller.
    type: list
    elements: str
    required: true
  requirements:
    description:
      - C(memory_mb), C(disk_mb) and C(inodes) of one machine, and its C(ports), by group.
      - C(controller_ports), C(library), C(cache), C(cache_mb) and C(cache_inodes), the controller's ports, its
        directories and how much room artifacts need.
      - C(networks) of the sandbox, and the C(bridge) of machines that are made here.
      - C(kernel_options) of a node and C(bridge_options) of a host that makes machines, each with what it is for.
      - C(node_disk_percent), the free share of a node's disk.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Ask for what the machines need
  ansible.builtin.debug:
    msg: "{{ (groups | cicd.sandbox.preflight_needs('localhost', ['infra-1'], requirements)).memory }}"
  vars:
    requirements:
      memory_mb: {infra: 256, etcd: 160, control_plane: 1024, workers: 768}
      disk_mb: {infra: 3072, etcd: 512, control_plane: 3072, workers: 4096}
      inodes: {infra: 10000, etcd: 1000, control_plane: 30000, workers: 60000}
      ports: {infra: [], etcd: [], control_plane: [], workers: []}
      controller_ports: []
      kernel_options: {}
      bridge_options: {}
      node_disk_percent: 15
      library: /var/lib/cicd-sandbox
      cache: /var/cache/cicd-sandbox
      cache_mb: 15360
      cache_inodes: 390000
      networks: {sandbox_pod_network: 10.244.0.0/16}
      bridge: sb-dev
"""

RETURN = r"""
_value:
  description:
    - C(memory), C(disks), C(directories), C(ports), C(ours), C(networks), C(bridge) and C(kernel_options) as
      M(cicd.sandbox.host_check) takes them.
    - C(runs_pods), whether pods will run there.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.needs import needs


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Give the filter by its name."""
        return {"preflight_needs": needs}
