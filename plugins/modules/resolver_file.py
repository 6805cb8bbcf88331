#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: a resolv.conf for pods."""

from __future__ import annotations

DOCUMENTATION = r"""
module: resolver_file
short_description: Write a resolv.conf with name servers that pods can ask
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - A host's own C(/etc/resolv.conf) may name a server on its loopback, which in a pod is the pod itself. CoreDNS would
    ask itself then (C(Loop detected)), and ends where no server is named (C(no valid upstream addresses)).
  - Writes a file for C(resolvConf) of a kubelet, with the servers of C(/etc/resolv.conf), or those behind
    systemd-resolved, that pods can ask. These have an address of IPv4 that is neither the loopback's nor link-local;
    there are at most three.
  - Search domains and options are the host's.
options:
  path:
    description: The file. Its directory has to be there.
    type: path
    required: true
  address:
    description: The host's address, which is asked where nothing else can be; it refuses at once, or has a server, too.
    type: str
    required: true
  name_servers:
    description: Servers that are asked in place of the host's.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says what would change, changes nothing.
    support: full
  diff_mode:
    description: Shows the file before and after.
    support: full
"""

EXAMPLES = r"""
- name: Write the name servers that pods ask
  cicd.sandbox.resolver_file:
    path: /etc/kubernetes/resolver/resolv.conf
    address: 198.18.0.31
"""

RETURN = r"""
name_servers:
  description: The servers in the file.
  returned: success
  type: list
  elements: str
  sample: [192.0.2.53]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files, resolver


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "address": {"type": "str", "required": True},
            "name_servers": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    path, found = Path(module.params["path"]), resolver.read()
    servers = module.params["name_servers"] or found.usable() or [module.params["address"]]
    before, after = path.read_text() if path.exists() else "", found.text(servers)
    if before != after and not module.check_mode:
        files.write(path, after)
    diff = {"before": before, "after": after, "before_header": str(path), "after_header": str(path)}
    module.exit_json(changed=before != after, name_servers=servers, diff=diff)


if __name__ == "__main__":
    main()
