#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: have a cluster write anew what it has stored."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: storage_migration
short_description: Have a cluster write anew what it has stored
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Has the cluster's own controller write all objects of some resources anew, and waits until it has. They are
    encrypted with the key that API servers write with by then, and have the version that these store.
  - It makes C(StorageVersionMigration) objects, which Kubernetes serves from 1.37, and removes them when they have
    succeeded.
  - Environment variables that speak of other clusters, and proxies, have no effect.
options:
  kubeconfig:
    description: Path of the kubeconfig. Its current context is used.
    type: path
    required: true
  resources:
    description:
      - Which resources, as an C(EncryptionConfiguration) names them - C(secrets), C(deployments.apps), C(*.apps),
        C(*.) for those of the core, C(*.*) for all.
    type: list
    elements: str
    required: true
  timeout:
    description: Seconds that all of them may take.
    type: float
    default: 300
requirements:
  - the Python library kubernetes on the host of the task
attributes:
  check_mode:
    description: Says which resources would be written anew, and fails where that can't be done.
    support: full
"""

EXAMPLES = r"""
- name: Encrypt all Secrets with the key that API servers write with now
  cicd.sandbox.storage_migration:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    resources: [secrets]
  delegate_to: localhost
"""

RETURN = r"""
resources:
  description: Resources whose objects were written anew.
  returned: success
  type: list
  elements: str
  sample: [secrets]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, KubernetesError
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.storage import check_served, chosen, migrate


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "resources": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "float", "default": 300.0},
        },
        supports_check_mode=True,
    )
    api = KubernetesApi(module.params["kubeconfig"], timeout=30.0)
    try:
        check_served(api)
        resources = chosen(api, module.params["resources"])
        if not module.check_mode:
            migrate(api, resources, module.params["timeout"])
    except KubernetesError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=bool(resources), resources=[str(resource) for resource in resources])


if __name__ == "__main__":
    main()
