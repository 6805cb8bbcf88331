#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: what a host says of its etcd member."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: etcd_member_info
short_description: Look at an etcd member on its own host
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
extends_documentation_fragment: [cicd.sandbox.etcd_client]
description:
  - Says whether the host has data, whether the service runs, and what the member answers to etcdctl.
  - Optionally waits until the member is healthy. It never fails for a member that is not; instead RV(journal) says what
    etcd wrote last.
options:
  data_directory:
    description: The member's data directory.
    type: path
    required: true
  unit:
    description: The member's unit of systemd.
    type: str
    default: etcd.service
  configuration:
    description: Files that the member reads when it starts, the program itself too.
    type: list
    elements: path
    default: []
  timeout:
    description: Seconds to wait for the member to be healthy; 0 looks once.
    type: int
    default: 0
  answer_timeout:
    description: Seconds that the member may take to answer a question. Without a quorum it answers some of them never.
    type: float
    default: 5
attributes:
  check_mode:
    description: Changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Wait for the member
  cicd.sandbox.etcd_member_info:
    data_directory: /var/lib/etcd/data
    ca: /etc/etcd/pki/ca.crt
    certificate: /etc/etcd/pki/server.crt
    key: /etc/etcd/pki/server.key
    timeout: 60
  register: member
"""

RETURN = r"""
data:
  description: Whether the data directory has a write-ahead log.
  returned: success
  type: bool
active:
  description: Whether systemd runs the member.
  returned: success
  type: bool
enabled:
  description: Whether it starts with the host.
  returned: success
  type: bool
outdated:
  description: Whether one of O(configuration) is newer than the running process.
  returned: success
  type: bool
healthy:
  description: Whether the member could read the list of members through a quorum. A learner's, whether it has a leader.
  returned: success
  type: bool
cluster_id:
  description: Id of its cluster, hexadecimal; empty when it does not answer.
  returned: success
  type: str
member_id:
  description: Its own id, hexadecimal.
  returned: success
  type: str
leader:
  description: Id of the leader as it sees it, C(0) for none.
  returned: success
  type: str
learner:
  description: Whether it does not vote yet.
  returned: success
  type: bool
version:
  description: Its version.
  returned: success
  type: str
revision:
  description: Revision of the newest write it has.
  returned: success
  type: int
database_bytes:
  description: Size of its database.
  returned: success
  type: int
database_bytes_in_use:
  description: How much of it is in use; a defragmentation frees the rest.
  returned: success
  type: int
errors:
  description: Errors it reports, such as a missing leader or the alarm NOSPACE.
  returned: success
  type: list
  elements: str
alarms:
  description: Alarms of all members, which stand until they are disarmed.
  returned: success
  type: list
  elements: dict
  contains:
    alarm:
      description: V(NOSPACE) or V(CORRUPT).
      type: str
    member_id:
      description: Id of the member that raised it, hexadecimal.
      type: str
members:
  description: All members of its cluster; empty when there is no quorum.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id, hexadecimal.
      type: str
    name:
      description: Name; empty until the member has started once.
      type: str
    peer_urls:
      description: Where other members reach it.
      type: list
      elements: str
    learner:
      description: Whether it does not vote yet.
      type: bool
journal:
  description: What it wrote last, when it is not healthy.
  returned: success
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.client import CLIENT_OPTIONS, client_of
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.member import Member, await_health, last_words
from ansible_collections.cicd.sandbox.plugins.module_utils.host.commands import within


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLIENT_OPTIONS,
            "data_directory": {"type": "path", "required": True},
            "unit": {"type": "str", "default": "etcd.service"},
            "configuration": {"type": "list", "elements": "path", "default": []},
            "timeout": {"type": "int", "default": 0},
            "answer_timeout": {"type": "float", "default": 5.0},
        },
        supports_check_mode=True,
    )
    params = module.params
    member = Member(
        client_of(params, params["answer_timeout"]),
        data_directory=Path(params["data_directory"]),
        unit=params["unit"],
        configuration=tuple(Path(path) for path in params["configuration"]),
    )
    run = within(30)
    found = await_health(member, run, params["timeout"])
    journal = [] if found["healthy"] else last_words(member.unit, run)
    module.exit_json(changed=False, journal=journal, **found)


if __name__ == "__main__":
    main()
