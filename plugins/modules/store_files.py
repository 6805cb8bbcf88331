#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: files from the artifact store."""

from __future__ import annotations

DOCUMENTATION = r"""
module: store_files
short_description: Install files from the artifact store
version_added: "0.1.0"
description:
  - Installs files of components from the sandbox's artifact store, each verified by the store's SHA256SUMS and put
    in its place in one step.
options:
  store_url:
    description: The store.
    type: str
    required: true
  components:
    description: What is installed of which component.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The component's name in the catalogue.
        type: str
        required: true
      version:
        description: The component's version in the catalogue.
        type: str
        required: true
      files:
        description: What goes where.
        type: list
        elements: dict
        required: true
        suboptions:
          name:
            description: File in the store.
            type: str
            required: true
          dest:
            description: Its place; a directory if it ends with a slash or is one.
            type: str
            required: true
          mode:
            description: Its mode, octal.
            type: str
            default: "0755"
          owner:
            description: Its owner.
            type: str
            default: root
          group:
            description: Its group.
            type: str
            default: root
  ca_path:
    description: Certificate of the store's CA; the machine's own trust store if not given.
    type: path
author:
  - cicd.sandbox contributors
attributes:
  check_mode:
    description: Says what would be installed, installs nothing.
    support: full
"""

EXAMPLES = r"""
- name: Install etcd
  cicd.sandbox.store_files:
    store_url: "{{ sandbox_store_url }}"
    components:
      - name: etcd
        version: "{{ sandbox_versions.etcd }}"
        files:
          - {name: etcd, dest: /usr/local/bin/}
          - {name: etcdctl, dest: /usr/local/bin/}
"""

RETURN = r"""
installed:
  description: Paths that changed.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.store import Store, StoreError, WantedFile, install
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import settle


def main() -> None:
    """Run the module."""
    settle()
    module = AnsibleModule(
        argument_spec={
            "store_url": {"type": "str", "required": True},
            "components": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "version": {"type": "str", "required": True},
                    "files": {
                        "type": "list",
                        "elements": "dict",
                        "required": True,
                        "options": {
                            "name": {"type": "str", "required": True},
                            # Not "path": a slash at its end has a meaning.
                            "dest": {"type": "str", "required": True},
                            "mode": {"type": "str", "default": "0755"},
                            "owner": {"type": "str", "default": "root"},
                            "group": {"type": "str", "default": "root"},
                        },
                    },
                },
            },
            "ca_path": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        wanted = [
            (
                Store(params["store_url"], component["name"], component["version"], params["ca_path"]),
                [WantedFile.read(values) for values in component["files"]],
            )
            for component in params["components"]
        ]
        changed = [path for store, files in wanted for path in install(store, files, dry_run=module.check_mode)]
    except (StoreError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(changed), installed=changed)


if __name__ == "__main__":
    main()
