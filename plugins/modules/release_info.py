# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: Tell in one look what bringing releases to a cluster takes
version_added: 0.1.0
author:
  - cicd.sandbox contributors
extends_documentation_fragment:
  - cicd.sandbox.releases
description:
  - Compares releases, the labels of their namespaces and the Secrets that they need with what the cluster has.
    Changes nothing.
  - Where all of it is there, a run needs no further call.
options:
  namespaces:
    description: Namespaces that have to be there, each with the labels that it has to have.
    type: dict
    default: {}
  secrets:
    description: Secrets that have to be there, each with the controller's files that hold its values.
    type: list
    elements: dict
    default: []
    suboptions:
      namespace:
        description: Its namespace.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
      files:
        description: A file for each key. A line break at its end is not part of the value.
        type: dict
        required: true
      lengths:
        description: How long the value of each key is made, where it is made; of no effect here.
        type: dict
        default: {}
      earlier:
        description: Key → the key that has to hold its earlier values.
        type: dict
        default: {}
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Changes nothing in any mode.
    support: none
seealso:
  - module: cicd.sandbox.helm_releases
"""

EXAMPLES = r"""
- name: Look at what there is of the shop
  cicd.sandbox.release_info:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    namespaces:
      shop: {pod-security.kubernetes.io/enforce: restricted}
    secrets:
      - namespace: shop
        name: postgresql
        files: {password: "{{ sandbox_secrets_directory }}/postgresql-password"}
    releases:
      - {name: postgresql, namespace: shop, chart: charts/workload}
"""

RETURN = r"""
namespaces:
  description: Namespaces that are missing or lack labels, as definitions.
  returned: success
  type: list
  elements: dict
secrets:
  description: >-
    Those of O(secrets) that are missing, lack a key or have another value for it, or whose files are not there.
  returned: success
  type: list
  elements: dict
unfinished:
  description: >-
    Helm's records of attempts that did not come to their end, as definitions of Secrets. Helm refuses to touch such a
    release until they are gone; its objects are adopted by the next attempt.
  returned: success
  type: list
  elements: dict
releases:
  description: How each release stands, see M(cicd.sandbox.helm_releases).
  returned: success
  type: list
  elements: dict
settled:
  description: Whether nothing is to be done, and all that has to be ready is.
  returned: success
  type: bool
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.charts import ChartError
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.plan import (
    PlanError,
    check_order,
    release_spec,
    settled,
    survey,
    wanted_releases,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.prerequisites import (
    WantedSecret,
    namespaces_to_apply,
    secrets_to_apply,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.records import RecordError
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.references import with_checksums
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, KubernetesError


def main() -> None:
    secret: dict[str, Any] = {
        "namespace": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        "files": {"type": "dict", "required": True},
        "lengths": {"type": "dict", "default": {}},
        "earlier": {"type": "dict", "default": {}},
    }
    module = AnsibleModule(
        argument_spec={
            "releases": {"type": "list", "elements": "dict", "required": True, "options": release_spec()},
            "namespaces": {"type": "dict", "default": {}},
            "secrets": {"type": "list", "elements": "dict", "default": [], "options": secret, "no_log": False},
            "kubeconfig": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    wanted = wanted_releases(module.params["releases"])
    secrets = [
        WantedSecret(item["namespace"], item["name"], item["files"], item["earlier"])
        for item in module.params["secrets"]
    ]
    api = KubernetesApi(module.params["kubeconfig"])
    try:
        check_order(wanted)
        namespaces = namespaces_to_apply(api, module.params["namespaces"])
        due = secrets_to_apply(api, secrets)
        found = survey(api, with_checksums(api, wanted))
        done = not namespaces and not due and settled(api, found)
    except (PlanError, ChartError, RecordError, KubernetesError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=False,
        namespaces=namespaces,
        secrets=[{"namespace": item.namespace, "name": item.name} for item in due],
        unfinished=[revision.definition() for one in found for revision in one.unfinished],
        releases=[
            {
                "name": one.release.name,
                "namespace": one.release.namespace,
                "state": one.state.value,
                "reason": one.reason,
            }
            for one in found
        ],
        settled=done,
    )


if __name__ == "__main__":
    main()
