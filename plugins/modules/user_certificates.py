#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: user_certificates
short_description: Have client certificates of a cluster's users, each in a kubeconfig
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Asks the cluster's API to sign a certificate for each user (signer C(kubernetes.io/kube-apiserver-client)), and
    writes it with its key, server and CA into O(directory) as C(<context>.kubeconfig), of mode C(0600). Keys are made
    on the host of the task and leave it nowhere.
  - A certificate is kept until less than a third of its time is left, or what it says of the user is another.
  - A certificate can't be revoked. Who is not in O(users) any longer is told in RV(unwanted); nothing is removed.
options:
  kubeconfig:
    description: The kubeconfig of somebody who may approve requests for certificates; its server and CA are the users'.
    type: path
    required: true
  directory:
    description: Where the kubeconfigs are. It is made where it is missing, of mode C(0700).
    type: path
    required: true
  cluster:
    description: Name of the cluster in them.
    type: str
    required: true
  users:
    description: The users.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name, as the API server knows it.
        type: str
        required: true
      groups:
        description: Groups, as the API server knows them.
        type: list
        elements: str
        required: true
      context:
        description: Name of the context.
        type: str
        required: true
      entry:
        description: Name of the user's entry in the kubeconfig.
        type: str
        required: true
      namespace:
        description: Namespace of the context.
        type: str
        default: ""
  seconds:
    description: How long a certificate is valid. The API takes no less than 600.
    type: int
    required: true
  timeout:
    description: How many seconds the cluster may take to sign one.
    type: float
    default: 30
requirements:
  - cryptography
  - PyYAML
  - the Python library kubernetes
attributes:
  check_mode:
    description: Says who would get a new certificate and asks the cluster for none.
    support: full
  diff_mode:
    description: Says who has a certificate, and why it is another.
    support: full
"""

EXAMPLES = r"""
- name: Have a certificate for a developer
  cicd.sandbox.user_certificates:
    kubeconfig: /etc/kubernetes/admin.conf
    directory: /root/users
    cluster: dev
    seconds: 86400
    users:
      - name: anna
        groups: [developers]
        context: anna@dev
        entry: anna@dev
        namespace: dev
"""

RETURN = r"""
issued:
  description: Who got, or in check mode would get, a new certificate, and why.
  returned: success
  type: dict
  sample: {anna: it ends on 2026-11-30 08:12 UTC}
unwanted:
  description: Contexts of O(directory) that are of none of O(users).
  returned: success
  type: list
  elements: str
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.certificates import users
from ansible_collections.cicd.sandbox.plugins.module_utils.host.files import replacing
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, KubernetesError

SUFFIX = ".kubeconfig"
ARGUMENTS: dict[str, Any] = {
    "kubeconfig": {"type": "path", "required": True},
    "directory": {"type": "path", "required": True},
    "cluster": {"type": "str", "required": True},
    "users": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "groups": {"type": "list", "elements": "str", "required": True},
            "context": {"type": "str", "required": True},
            "entry": {"type": "str", "required": True},
            "namespace": {"type": "str", "default": ""},
        },
    },
    "seconds": {"type": "int", "required": True},
    "timeout": {"type": "float", "default": 30},
}


def read(path: Path) -> str:
    """Return a file's text; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def have(module: AnsibleModule, api: KubernetesApi, cluster: users.Cluster, user: users.User) -> tuple[bool, str]:
    """Have one user's kubeconfig: whether it changed, and why the certificate is a new one."""
    path = Path(module.params["directory"]) / f"{user.context}{SUFFIX}"
    text = read(path)
    held = users.credentials_in(text)
    lifetime = timedelta(seconds=module.params["seconds"])
    why = users.why_due(user, held, cluster.authority, lifetime, datetime.now(UTC))
    if module.check_mode and (why or held is None):
        return True, why
    if why or held is None:
        held = users.issue(api, user, lifetime, module.params["timeout"])
    wanted = users.render(cluster, user, held)
    private = text != "" and path.stat().st_mode & 0o777 == 0o600
    if text == wanted and private:
        return False, ""
    if not module.check_mode:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path, 0o600, sync=True) as stream:
            stream.write(wanted.encode())
    return True, why


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    asked = [users.User(**entry) for entry in module.params["users"]]
    api = KubernetesApi(module.params["kubeconfig"])
    directory = Path(module.params["directory"])
    changed = False
    issued: dict[str, str] = {}
    try:
        cluster = users.cluster_of(read(Path(module.params["kubeconfig"])), module.params["cluster"])
        for user in asked:
            one_changed, why = have(module, api, cluster, user)
            changed = changed or one_changed
            issued |= {user.name: why} if why else {}
        present = sorted(path.name.removesuffix(SUFFIX) for path in directory.glob(f"*{SUFFIX}"))
    except (users.UserError, KubernetesError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    lines = [f"{name}: a new certificate, {why}\n" for name, why in issued.items()]
    module.exit_json(
        changed=changed,
        issued=issued,
        unwanted=[context for context in present if context not in {user.context for user in asked}],
        diff={"before": "", "after": "".join(lines)},
    )


if __name__ == "__main__":
    main()
