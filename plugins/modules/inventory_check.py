#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action inventory_check."""

from __future__ import annotations

DOCUMENTATION = r"""
module: inventory_check
short_description: Say what is wrong with an inventory
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Looks for empty groups, hosts in two exclusive groups, networks that overlap, are of another kind or size than
    serves, names that hosts, the sandbox or domains can't have, names of hosts that lead nowhere, addresses that two
    hosts have, that are outside of their bridge or in a network of pods or services, ports that two parts want on one
    host, relative paths, placeholders, variables that no role has or that a role has fixed, values that a role's
    argument specification refuses, and a version of Kubernetes that is not supported.
  - Says of each in which file and line it is set. Runs on the controller, where it sees all variables of all hosts with
    their templates filled in; changes nothing and does not fail because of what it finds.
options:
  groups:
    description: The groups and their hosts.
    type: dict
    required: true
  addresses:
    description: The hosts' addresses, or names that are looked up on the controller.
    type: dict
    required: true
  networks:
    description: Networks by the variable that has them. They must not overlap.
    type: dict
    required: true
  etcd_members:
    description: How many hosts of the group C(etcd) are members; all of them by default.
    type: int
  bridge:
    description: Which of O(networks) the addresses have to be in; none if empty.
    type: str
    default: ""
  sandbox:
    description: The sandbox's name; not looked at if empty.
    type: str
    default: ""
  made:
    description: Hosts that are machines made on the controller.
    type: list
    elements: str
    default: []
  ports:
    description: Ports that hosts need, by group; each with C(number), and with C(what) it is for.
    type: dict
    default: {}
  directories:
    description:
      - Directories of the controller by the variable that has them, C(HOME) being the environment's. They have to be
        absolute and of letters that SSH and Ansible take for no more than that.
    type: dict
    default: {}
  values:
    description: Further values by their variable, looked at for placeholders.
    type: dict
    default: {}
  kubernetes:
    description: The version of Kubernetes that is asked for; not looked at if empty.
    type: str
    default: ""
  supported:
    description: Minor versions of Kubernetes that O(kubernetes) may be of.
    type: list
    elements: str
    default: []
  sources:
    description: The inventories, files or directories.
    type: list
    elements: path
    default: []
  roles:
    description: Directory of the roles that say which variables there are; by default those of this collection.
    type: path
attributes:
  check_mode:
    description: Changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Look at the inventory
  cicd.sandbox.inventory_check:
    groups: "{{ groups }}"
    addresses: {cp-1: 198.18.0.21}
    networks: {sandbox_pod_network: 10.244.0.0/16}
    sources: "{{ ansible_inventory_sources }}"
  delegate_to: localhost
"""

RETURN = r"""
findings:
  description: What is wrong, as M(cicd.sandbox.host_check) returns it.
  returned: always
  type: list
  elements: dict
"""
