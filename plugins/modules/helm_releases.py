# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_releases
short_description: Install or upgrade several Helm releases side by side, and wait until they are ready
version_added: 0.1.0
author:
  - cicd.sandbox contributors
extends_documentation_fragment:
  - cicd.sandbox.releases
description:
  - Brings a list of releases to a cluster. Releases that don't come after each other are worked on at the same time,
    which M(kubernetes.core.helm) can't do; it does not support C(async) either.
  - What there is to do is known from one look at Helm's own records, decoded here, so that a release that is current
    costs no call of Helm. A release is current when chart, values and revision are those of its record, file by file,
    and none of its objects has been removed since.
  - Pods of the chart C(workload) carry checksums of the Secrets and ConfigMaps that they read, whoever made these
    (C(env), C(envFrom), C(secretFiles), C(extraVolumes)). One that changes makes the release outdated, and its pods are
    replaced.
  - A release that does not come up is told with what Helm says, and with state, events and last log lines of the Jobs
    and pods behind it.
  - Variables of the environment that speak of other clusters (C(HELM_*), C(KUBE*)) have no effect.
options:
  binary_path:
    description: The helm program.
    type: path
    required: true
  timeout:
    description: Seconds that hooks of a release, and then the release itself, may take.
    type: float
    default: 300
attributes:
  check_mode:
    description: Tells what would be installed or upgraded, and why; installs nothing and waits for nothing.
    support: full
  diff_mode:
    description: Shows version of the chart and values, before and after.
    support: full
seealso:
  - module: cicd.sandbox.release_info
"""

EXAMPLES = r"""
- name: Install a database and what needs it
  cicd.sandbox.helm_releases:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    binary_path: "{{ sandbox_bin_directory }}/helm"
    releases:
      - name: postgresql
        namespace: shop
        chart: charts/workload
        values: {image: {repository: registry.sandbox.internal/postgresql, tag: "17"}}
      - name: api
        namespace: shop
        chart: charts/workload
        values: {image: {repository: registry.sandbox.internal/api, tag: "1"}}
        after: [postgresql]
"""

RETURN = r"""
releases:
  description: What was found and done, in the order of O(releases).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the release.
      type: str
    namespace:
      description: Its namespace.
      type: str
    state:
      description: >-
        How it was found: V(current); V(absent); V(outdated), another chart or other values; V(incomplete), an object
        was removed; V(unfinished), an attempt did not come to its end.
      type: str
    reason:
      description: Why it was not current; empty where it was, or was absent.
      type: str
    applied:
      description: Whether Helm was called.
      type: bool
    seconds:
      description: How long Helm and the wait took.
      type: float
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.charts import ChartError
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.plan import (
    PlanError,
    State,
    check_order,
    release_spec,
    survey,
    wanted_releases,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.records import RecordError
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.references import with_checksums
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.running import Helm, Installer, Outcome, explain
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, KubernetesError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "releases": {"type": "list", "elements": "dict", "required": True, "options": release_spec()},
            "kubeconfig": {"type": "path", "required": True},
            "binary_path": {"type": "path", "required": True},
            "timeout": {"type": "float", "default": 300.0},
        },
        supports_check_mode=True,
    )
    wanted = wanted_releases(module.params["releases"])
    api = KubernetesApi(module.params["kubeconfig"])
    try:
        check_order(wanted)
        found = survey(api, with_checksums(api, wanted))
        due = [one for one in found if one.state is not State.CURRENT]
        diff = [one.diff() for one in due]
        outcomes = [Outcome(one) for one in found]
        if not module.check_mode:
            helm = Helm(Path(module.params["binary_path"]), Path(module.params["kubeconfig"]), module.params["timeout"])
            outcomes = Installer(api, helm, module.params["timeout"]).run(found)
    except (PlanError, ChartError, RecordError, KubernetesError) as error:
        module.fail_json(msg=str(error))
    result = {"changed": bool(due), "releases": [outcome.as_dict() for outcome in outcomes], "diff": diff}
    if any(outcome.problem for outcome in outcomes):
        module.fail_json(msg=explain(outcomes), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
