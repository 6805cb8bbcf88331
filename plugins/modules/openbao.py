#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: openbao
short_description: Have settings and secrets in an OpenBao of the cluster
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Writes those settings that are not as they are wanted, and makes secrets of applications that are missing, of the
    Secret that the cluster has already, of a file, or at random.
  - It logs in with a token of a ServiceAccount that the API server makes for ten minutes (TokenRequest). Where OpenBao
    does not let that in, as before the first time, it makes a root token of the unseal keys, and revokes it when all is
    written.
  - A key that keeps earlier values gets the one before where somebody has changed the value alone.
  - No value of a secret is returned, or stands on a command line.
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
    description: Where OpenBao's pod is.
    type: str
    required: true
  pod:
    description: Its name.
    type: str
    default: openbao-0
  port:
    description: Where OpenBao listens.
    type: int
    default: 8200
  ca_path:
    description: The authority of its certificate, which has to name 127.0.0.1.
    type: path
    required: true
  keys_path:
    description: File of the unseal keys, as M(cicd.sandbox.openbao_unsealed) writes it.
    type: path
    required: true
  operator:
    description: Who logs in.
    type: dict
    required: true
    suboptions:
      service_account:
        description: A ServiceAccount of O(namespace).
        type: str
        required: true
      role:
        description: Its role in OpenBao.
        type: str
        required: true
      audience:
        description: The audience of its token.
        type: str
        required: true
      method:
        description: Where the method of authentication is mounted.
        type: str
        default: kubernetes
  settings:
    description: Data that paths of OpenBao's API are to have, written in this order where they have not.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: A path below C(/v1/).
        type: str
        required: true
      data:
        description: What it is to have; it may have more.
        type: dict
        required: true
  mount:
    description: Where the key-value engine of version 2 is mounted.
    type: str
    default: secret
  secrets:
    description: Secrets of applications.
    type: list
    elements: dict
    default: []
    suboptions:
      namespace:
        description: Namespace of the Secret that is made of it.
        type: str
        required: true
      name:
        description: Name of that Secret.
        type: str
        required: true
      keys:
        description: Its keys, each with C(length), the characters of a value that is made, and C(keep_earlier).
        type: dict
        required: true
  rotated:
    description: Secrets, as C(<namespace>/<name>), that get new values for those keys whose earlier ones are kept.
    type: list
    elements: str
    default: []
  directory:
    description: Where files have values for secrets that are missing, C(<name>-<key>).
    type: path
    required: true
requirements:
  - hvac
  - kubernetes
attributes:
  check_mode:
    description: Says what would be written. Of an OpenBao that is sealed, or takes nobody in yet, that is all of it.
    support: full
  diff_mode:
    description: Shows which paths are written, and why; no value.
    support: full
"""

EXAMPLES = r"""
- name: Have the password of a database
  cicd.sandbox.openbao:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    kubectl: "{{ sandbox_bin_directory }}/kubectl"
    namespace: openbao
    ca_path: "{{ sandbox_pki_directory }}/openbao/ca.crt"
    keys_path: "{{ sandbox_secrets_directory }}/openbao-unseal-keys.json"
    directory: "{{ sandbox_secrets_directory }}"
    operator: {service_account: openbao-operator, role: operator, audience: openbao}
    settings:
      - path: sys/mounts/secret
        data: {type: kv, options: {version: "2"}}
    secrets:
      - namespace: shop
        name: database
        keys: {password: {length: 32, keep_earlier: true}}
"""

RETURN = r"""
written:
  description: What was, or would be, written, and why.
  returned: success
  type: list
  elements: str
  sample: ["secret shop/database: password was missing"]
versions:
  description: The version of each secret, by C(<namespace>/<name>). In check mode those there are.
  returned: success
  type: dict
"""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, KubernetesError, Target
from ansible_collections.cicd.sandbox.plugins.module_utils.openbao import settings, stored
from ansible_collections.cicd.sandbox.plugins.module_utils.openbao.sealing import read_keys, root_token, seal_of
from ansible_collections.cicd.sandbox.plugins.module_utils.openbao.server import (
    HVAC_IMPORT_ERROR,
    Bao,
    BaoError,
    Place,
    reached,
)

TOKEN_SECONDS = 600


class Known:
    """Values that there are already: of the cluster's Secrets, else of files of the controller."""

    def __init__(self, api: KubernetesApi, directory: Path) -> None:
        self._api = api
        self._directory = directory
        self._read: dict[tuple[str, str], Mapping[str, str]] = {}

    def __call__(self, namespace: str, name: str, key: str) -> str | None:
        """Return the value of a Secret's key, or None. Raises KubernetesError."""
        if (namespace, name) not in self._read:
            self._read[namespace, name] = self._data(namespace, name)
        data = self._read[namespace, name]
        if key in data:
            return base64.b64decode(data[key]).decode()
        file = self._directory / f"{name}-{key}"
        return file.read_text(encoding="utf-8").rstrip() if file.is_file() else None

    def _data(self, namespace: str, name: str) -> Mapping[str, str]:
        try:
            (found,) = self._api.objects(Target("Secret", "v1", namespace, name))
        except KubernetesError as error:
            if error.absent:
                return {}
            raise
        return found.get("data") or {}


class Session:
    """A login at OpenBao."""

    def __init__(self, api: KubernetesApi, namespace: str, operator: Mapping[str, str], keys: Path) -> None:
        self._api = api
        self._namespace = namespace
        self._operator = operator
        self._keys = keys

    @contextmanager
    def of(self, bao: Bao, *, root: bool) -> Iterator[None]:
        """Ask with a token for a while, the operator's or a root token, and revoke it then. Raises BaoError."""
        bao.become("")
        bao.become(root_token(bao, read_keys(self._keys)) if root else self._login(bao))
        try:
            yield
        finally:
            bao.write("auth/token/revoke-self", {})
            bao.become("")

    def _login(self, bao: Bao) -> str:
        account = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{self._operator['service_account']}/token"
        asked = {"audiences": [self._operator["audience"]], "expirationSeconds": TOKEN_SECONDS}
        token = self._api.send(
            "post", account, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": asked}
        )
        role = {"role": self._operator["role"], "jwt": token["status"]["token"]}
        try:
            answer = bao.write(f"auth/{self._operator['method']}/login", role)
        except BaoError as error:
            raise BaoError(str(error), denied=True) from None
        return str(answer["auth"]["client_token"])


class Keeper:
    """Brings an OpenBao to what is wanted, or says what would be done."""

    def __init__(self, params: Mapping[str, Any], api: KubernetesApi, *, check_mode: bool) -> None:
        self._check_mode = check_mode
        self._settings = [settings.Setting(entry["path"], entry["data"]) for entry in params["settings"]]
        self._mount: str = params["mount"]
        self._secrets = [
            stored.Secret(
                entry["namespace"],
                entry["name"],
                {
                    name: stored.Key(int((key or {}).get("length", 32)), bool((key or {}).get("keep_earlier", False)))
                    for name, key in entry["keys"].items()
                },
            )
            for entry in params["secrets"]
        ]
        self._rotated: list[str] = params["rotated"]
        self._known = Known(api, Path(params["directory"]))
        self.written: list[str] = []
        self.warnings: list[str] = []
        self.versions: dict[str, int] = {}
        stored.check_rotated(self._secrets, self._rotated)

    def keep(self, bao: Bao) -> None:
        """Do it, as whom the server is asked. Raises BaoError."""
        due = settings.due(bao, self._settings)
        changes, self.versions = stored.changes(bao, self._mount, self._secrets, self._rotated, self._known)
        self.written = [f"setting {setting.path}" for setting in due]
        self.written += [f"secret {change.secret.title}: {change.why}" for change in changes]
        if self._check_mode:
            return
        settings.apply(bao, due)
        self.versions |= stored.apply(bao, self._mount, changes)

    def everything(self) -> None:
        """Say that all of it would be written: there is nobody to ask."""
        self.written = [f"setting {setting.path}" for setting in self._settings]
        self.written += [f"secret {secret.title}: was missing" for secret in self._secrets]
        self.versions = {secret.title: 0 for secret in self._secrets}


def keep(module: AnsibleModule) -> Keeper:
    """Have what is wanted. Raises BaoError and KubernetesError."""
    params = module.params
    api = KubernetesApi(params["kubeconfig"])
    keeper = Keeper(params, api, check_mode=module.check_mode)
    session = Session(api, params["namespace"], params["operator"], Path(params["keys_path"]))
    place = Place(params["kubectl"], params["kubeconfig"], params["namespace"], params["pod"], params["port"])
    with reached(place, params["ca_path"]) as bao:
        seal = seal_of(bao)
        if module.check_mode and (seal.sealed or not seal.initialised):
            keeper.everything()
            return keeper
        try:
            with session.of(bao, root=False):
                keeper.keep(bao)
        except BaoError as error:
            if not error.denied:
                raise
            if module.check_mode:
                keeper.everything()
                return keeper
            with session.of(bao, root=True):
                keeper.keep(bao)
            if not keeper.written:
                keeper.warnings.append(
                    f"A root token was made, as OpenBao refuses {params['operator']['role']}: {error}"
                )
    return keeper


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "kubectl": {"type": "path", "required": True},
            "namespace": {"type": "str", "required": True},
            "pod": {"type": "str", "default": "openbao-0"},
            "port": {"type": "int", "default": 8200},
            "ca_path": {"type": "path", "required": True},
            "keys_path": {"type": "path", "required": True, "no_log": False},
            "operator": {
                "type": "dict",
                "required": True,
                "options": {
                    "service_account": {"type": "str", "required": True},
                    "role": {"type": "str", "required": True},
                    "audience": {"type": "str", "required": True},
                    "method": {"type": "str", "default": "kubernetes"},
                },
            },
            "settings": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"path": {"type": "str", "required": True}, "data": {"type": "dict", "required": True}},
            },
            "mount": {"type": "str", "default": "secret"},
            # Names and lengths: no value is given.
            "secrets": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "no_log": False,
                "options": {
                    "namespace": {"type": "str", "required": True},
                    "name": {"type": "str", "required": True},
                    "keys": {"type": "dict", "required": True, "no_log": False},
                },
            },
            "rotated": {"type": "list", "elements": "str", "default": []},
            "directory": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    if HVAC_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("hvac"), exception=HVAC_IMPORT_ERROR)
    try:
        keeper = keep(module)
    except (BaoError, KubernetesError) as error:
        module.fail_json(msg=str(error))
    for warning in keeper.warnings:
        module.warn(warning)
    lines = "".join(f"{line}\n" for line in keeper.written)
    module.exit_json(
        changed=bool(keeper.written),
        written=keeper.written,
        versions=keeper.versions,
        diff={"before": "", "after": lines},
    )


if __name__ == "__main__":
    main()
