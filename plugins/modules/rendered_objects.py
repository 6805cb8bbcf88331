#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: what the releases of a cluster were rendered to."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: rendered_objects
short_description: Write what Helm rendered releases to, a file for each object
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Reads what Helm has of the releases that are deployed in a cluster, and writes each object into a file that is
    called by it, as C(shop.Deployment.web.yaml), so that scanners which name files name objects.
  - Secrets are among it. The directory and its files are for nobody else, and for the caller to remove.
  - Definitions of custom resources are left out, as no scanner looks at them.
options:
  kubeconfig:
    description: The kubeconfig that leads to the cluster.
    type: path
    required: true
  directory:
    description: Where to write them. What is in it is removed first.
    type: path
    required: true
attributes:
  check_mode:
    description: Writes in any mode, as what looks at the files has to have them.
    support: none
  diff_mode:
    description: Never shows what it writes.
    support: none
"""

EXAMPLES = r"""
- name: Write what charts were rendered to
  cicd.sandbox.rendered_objects:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    directory: "{{ sandbox_state_directory }}/rendered"
  check_mode: false
  changed_when: false
"""

RETURN = r"""
files:
  description: The files' names, in alphabetical order.
  returned: success
  type: list
  elements: str
  sample: [shop.Deployment.web.yaml]
"""

import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.records import RecordError
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.rendered import files, rendered
from ansible_collections.cicd.sandbox.plugins.module_utils.host.files import replacing
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, KubernetesError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "directory": {"type": "path", "required": True},
        }
    )
    directory = Path(module.params["directory"])
    try:
        found = files(rendered(KubernetesApi(module.params["kubeconfig"])))
    except (KubernetesError, RecordError) as error:
        module.fail_json(msg=str(error))
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(mode=0o700)
    for name, content in found.items():
        with replacing(directory / name, 0o600) as stream:
            stream.write(content.encode())
    module.exit_json(changed=True, files=sorted(found))


if __name__ == "__main__":
    main()
