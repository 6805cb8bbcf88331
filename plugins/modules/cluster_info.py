# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: Tell in one look which nodes and pages a cluster has
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Reads nodes, and the pages that a person opens. A page is an HTTPRoute of the Gateway API that belongs to
    O(gateway), at its host names. Annotations say more, all of them optional - C(cicd.sandbox/title), C(text),
    C(path), C(health-path), C(contains) and C(login).
  - A cluster that does not answer is no error. What is known of it then is nothing, and RV(problem) says why.
options:
  kubeconfig:
    description: Kubeconfig of the cluster.
    type: path
    required: true
  gateway:
    description: The Gateway whose routes are pages, whether it is there or not.
    type: dict
    required: true
    suboptions:
      namespace:
        description: Its namespace.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
  by_node_port:
    description: Whether pages are reached by their Services' node ports, where there is no gateway.
    type: bool
    default: false
  reserved:
    description: Host names that no route's page may have.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that the API server may take to answer, all in all.
    type: float
    default: 5
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Changes nothing in any mode.
    support: none
"""

EXAMPLES = r"""
- name: Read the cluster's pages
  cicd.sandbox.cluster_info:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    gateway: {namespace: istio-ingress, name: sandbox}
  register: cluster

- name: Open a page for whoever lists the routes of this Gateway
  cicd.sandbox.cluster_objects:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    definition:
      apiVersion: gateway.networking.k8s.io/v1
      kind: HTTPRoute
      metadata:
        name: shop
        namespace: shop
        annotations:
          cicd.sandbox/title: The shop
      spec:
        parentRefs: [{namespace: istio-ingress, name: sandbox}]
        hostnames: [shop.localhost]
        rules:
          - backendRefs: [{name: shop, port: 80}]
"""

RETURN = r"""
problem:
  description: Why nothing is known of the cluster; empty where it answered.
  returned: always
  type: str
nodes:
  description: The nodes by name.
  returned: always
  type: dict
  contains:
    version:
      description: The kubelet's version.
      type: str
    ready:
      description: Whether the node is Ready.
      type: bool
pages:
  description: The pages, by name.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: First label of its first host name.
      type: str
    hosts:
      description: Its host names.
      type: list
      elements: str
    title:
      description: What it is called.
      type: str
    text:
      description: What it is for.
      type: str
    path:
      description: Where a person begins.
      type: str
    health_path:
      description: Path that answers 200 where a pod may get requests.
      type: str
    contains:
      description: Text that has to be in what C(path) answers.
      type: str
    login:
      description: Whether the gateway asks for the login of the pages.
      type: bool
    timeout:
      description: Seconds that an answer may take.
      type: int
    streams:
      description: Beginnings of paths whose answers may take any time.
      type: list
      elements: str
    namespace:
      description: The HTTPRoute's namespace.
      type: str
    route:
      description: The HTTPRoute's name.
      type: str
    service:
      description: The Service behind it.
      type: str
    service_namespace:
      description: The Service's namespace.
      type: str
    node_port:
      description: Port of every node that leads to the Service; 0 where none does.
      type: int
page_problems:
  description: HTTPRoutes that want to be a page and can't, each with C(name) and C(reason).
  returned: always
  type: list
  elements: dict
lost_volumes:
  description: >-
    Volumes that were lost with their node and made anew, empty, within the last seven days: C(claim), C(node) and when
    it was found, C(at).
  returned: always
  type: list
  elements: dict
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import (
    KubernetesApi,
    KubernetesError,
    Object,
    Target,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.conditions import condition_of
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.pages import ROUTES, SERVICES, Page, read_pages
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.volumes import LOST_CLAIMS, lost_volumes

# A loss is told for so many days.
TOLD = 7


def node_of(node: Object) -> dict[str, Any]:
    ready = condition_of(node, "Ready") or {}
    info = (node.get("status") or {}).get("nodeInfo") or {}
    return {"version": info.get("kubeletVersion", ""), "ready": ready.get("status") == "True"}


def pages_of(api: KubernetesApi, params: dict[str, Any]) -> tuple[list[Page], list[dict[str, str]]]:
    try:
        routes = api.objects(ROUTES)
    except KubernetesError as error:
        if error.unserved:
            return [], []
        raise
    services = api.objects(SERVICES) if routes else []
    gateway = (params["gateway"]["namespace"], params["gateway"]["name"])
    return read_pages(routes, services, gateway, params["reserved"], by_node_port=params["by_node_port"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "gateway": {
                "type": "dict",
                "required": True,
                "options": {
                    "namespace": {"type": "str", "required": True},
                    "name": {"type": "str", "required": True},
                },
            },
            "by_node_port": {"type": "bool", "default": False},
            "reserved": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "float", "default": 5.0},
        },
        supports_check_mode=True,
    )
    timeout = module.params["timeout"]
    api = KubernetesApi(module.params["kubeconfig"], timeout=timeout).by(time.monotonic() + timeout)
    try:
        nodes = {node["metadata"]["name"]: node_of(node) for node in api.objects(Target("Node", "v1"))}
        pages, problems = pages_of(api, module.params)
        lost = lost_volumes(api.objects(LOST_CLAIMS), TOLD)
    except KubernetesError as error:
        module.exit_json(changed=False, problem=str(error), nodes={}, pages=[], page_problems=[], lost_volumes=[])
    module.exit_json(
        changed=False,
        problem="",
        nodes=nodes,
        pages=[page.as_dict() for page in pages],
        page_problems=problems,
        lost_volumes=lost,
    )


if __name__ == "__main__":
    main()
