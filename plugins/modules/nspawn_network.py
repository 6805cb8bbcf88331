#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the private bridge of a sandbox."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nspawn_network
short_description: Manage a sandbox's private bridge and its packet filter
version_added: "0.1.0"
description:
  - Makes a bridge with the first address of its network, and an nftables table of its own.
  - The table translates the addresses of machines that may reach outside, and drops every packet of a machine that
    would leave this host with an address of the sandbox. Traffic of others is left alone, whatever its addresses.
  - Where chains of forwarding that others made (Docker, ufw, an C(nftables.conf)) may drop packets, rules for the
    bridge alone are put first in them, in nftables and in iptables-legacy; they are removed with O(state=absent).
  - Fails where only firewalld may write to such a chain, and says what to tell it.
options:
  sandbox:
    description: Name of the sandbox; the bridge is C(sb-<name>).
    type: str
    required: true
  network:
    description: The machines' network.
    type: str
    required: true
  guarded_networks:
    description: Further networks (pods, services) whose addresses must not leave this host.
    type: list
    elements: str
    default: []
  nat_addresses:
    description: Addresses of the machines that may reach outside.
    type: list
    elements: str
    default: []
  state:
    description: Whether the network is there.
    type: str
    choices: [absent, present]
    default: present
author:
  - cicd.sandbox contributors
attributes:
  check_mode:
    description: Says what would be done.
    support: full
"""

EXAMPLES = r"""
- name: Make the bridge
  cicd.sandbox.nspawn_network:
    sandbox: dev
    network: 198.18.0.0/24
    guarded_networks: [10.244.0.0/16, 10.96.0.0/16]
"""

RETURN = r"""
bridge:
  description: Name of the bridge.
  returned: success
  type: str
  sample: sb-dev
gateway:
  description: This host's address on the bridge.
  returned: success
  type: str
  sample: 198.18.0.1
actions:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [make bridge sb-dev]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import settle
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.network import (
    network_absent,
    network_from,
    network_plan,
    network_present,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.system import NspawnError


def main() -> None:
    """Run the module."""
    settle()
    module = AnsibleModule(
        argument_spec={
            "sandbox": {"type": "str", "required": True},
            "network": {"type": "str", "required": True},
            "guarded_networks": {"type": "list", "elements": "str", "default": []},
            "nat_addresses": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
        },
        supports_check_mode=True,
    )
    try:
        network = network_from(
            module.params["sandbox"],
            module.params["network"],
            module.params["guarded_networks"],
            module.params["nat_addresses"],
        )
        if module.params["state"] == "absent":
            actions = network_absent(network, dry_run=module.check_mode)
        elif module.check_mode:
            actions = network_plan(network)
        else:
            actions = network_present(network)
    except NspawnError as error:
        module.fail_json(msg=str(error))
    texts = [action.text(network) for action in actions]
    diff = {"before": "", "after": "".join(f"{text}\n" for text in texts)}
    module.exit_json(changed=bool(texts), actions=texts, bridge=network.bridge, gateway=str(network.gateway), diff=diff)


if __name__ == "__main__":
    main()
