#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao_unsealed
short_description: Have an OpenBao of the cluster initialised, and opened
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Waits until the pods of a StatefulSet run, initialises OpenBao where nobody has, opens it with its unseal keys, and
    ends when the StatefulSet is ready.
  - The root token of the initialisation is revoked at once and kept nowhere; M(cicd.sandbox.openbao) makes another of
    the unseal keys where it needs one.
  - One pod is meant, with its data on a volume. OpenBao is reached by C(kubectl port-forward).
options:
  kubeconfig:
    description: The cluster.
    type: path
    required: true
  kubectl:
    description: The program.
    type: path
    required: true
  namespace:
    description: Where the StatefulSet is.
    type: str
    required: true
  name:
    description: Its name.
    type: str
    default: openbao
  port:
    description: Where OpenBao listens.
    type: int
    default: 8200
  ca_path:
    description: The authority of its certificate, which has to name 127.0.0.1.
    type: path
    required: true
  keys_path:
    description: >-
      File of the unseal keys, of mode 0600. It is written when OpenBao is initialised; one of an earlier OpenBao is
      kept as C(<keys_path>.earlier).
    type: path
    required: true
  timeout:
    description: Seconds that all of it may take.
    type: int
    default: 180
requirements:
  - hvac
  - kubernetes
attributes:
  check_mode:
    description: Says whether OpenBao would be initialised or opened, where its pod runs.
    support: full
"""

EXAMPLES = r"""
- name: Have OpenBao open
  cicd.sandbox.openbao_unsealed:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    kubectl: "{{ sandbox_bin_directory }}/kubectl"
    namespace: openbao
    ca_path: "{{ sandbox_pki_directory }}/openbao/ca.crt"
    keys_path: "{{ sandbox_secrets_directory }}/openbao-unseal-keys.json"
"""

RETURN = r"""
initialised:
  description: Whether nobody had before.
  returned: success
  type: bool
unsealed:
  description: Whether it had to be opened.
  returned: success
  type: bool
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, KubernetesError, Target
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.conditions import ready_problem
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.diagnosis import diagnose
from ansible_collections.cicd.sandbox.plugins.module_utils.openbao.sealing import (
    initialise,
    read_keys,
    seal_of,
    unseal,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.openbao.server import (
    HVAC_IMPORT_ERROR,
    BaoError,
    Place,
    reached,
)

POLL = 1.0


class Opener:
    """Opens an OpenBao; remembers what had to be done."""

    def __init__(self, module: AnsibleModule) -> None:
        params = module.params
        self._check_mode: bool = module.check_mode
        self._api = KubernetesApi(params["kubeconfig"])
        self._target = Target("StatefulSet", "apps/v1", params["namespace"], params["name"])
        pod = f"{params['name']}-0"
        self._place = Place(params["kubectl"], params["kubeconfig"], params["namespace"], pod, params["port"])
        self._ca_path: str = params["ca_path"]
        self._keys = Path(params["keys_path"])
        self.initialised = False
        self.unsealed = False

    def look(self) -> str:
        """Do what is to be done now; why it is not ready yet, or nothing. Raises BaoError where waiting can't help."""
        try:
            (found,) = self._api.objects(self._target)
        except KubernetesError as error:
            if error.final:
                raise
            if self._check_mode and error.absent:
                self.initialised = self.unsealed = True
                return ""
            return str(error)
        problem = ready_problem(found)
        if not problem:
            return ""
        try:
            with reached(self._place, self._ca_path) as bao:
                seal = seal_of(bao)
                if self._check_mode:
                    self.initialised = self.initialised or not seal.initialised
                    self.unsealed = self.unsealed or seal.sealed
                    return ""
                if not seal.initialised:
                    initialise(bao, self._keys)
                    self.initialised = self.unsealed = True
                elif seal.sealed:
                    keys = read_keys(self._keys)
                    unseal(bao, keys)
                    self.unsealed = True
        except BaoError as error:
            if error.final:
                raise
            return f"{problem}; {error}"
        return problem

    def why(self) -> list[str]:
        """What ails the pods."""
        return diagnose(self._api, [self._target])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "kubectl": {"type": "path", "required": True},
            "namespace": {"type": "str", "required": True},
            "name": {"type": "str", "default": "openbao"},
            "port": {"type": "int", "default": 8200},
            "ca_path": {"type": "path", "required": True},
            "keys_path": {"type": "path", "required": True, "no_log": False},
            "timeout": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    if HVAC_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=HVAC_IMPORT_ERROR)
    opener = Opener(module)
    end = time.monotonic() + module.params["timeout"]
    try:
        while problem := opener.look():
            if time.monotonic() >= end:
                module.fail_json(msg="\n".join([f"OpenBao is not ready: {problem}", *opener.why()]))
            time.sleep(POLL)
    except (BaoError, KubernetesError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=opener.initialised or opener.unsealed, initialised=opener.initialised, unsealed=opener.unsealed
    )


if __name__ == "__main__":
    main()
