# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: read objects of a cluster; documented in plugins/modules/cluster_objects_info.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.cicd.sandbox.plugins.action import cluster_objects


class ActionModule(cluster_objects.ActionModule):
    """The same for the module that reads."""

    MODULE: ClassVar[str] = "kubernetes.core.k8s_info"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "kubeconfig": {"type": "path", "required": True},
        "api_version": {"type": "str", "default": "v1"},
        "kind": {"type": "str", "required": True},
        "namespace": {"type": "str"},
        "name": {"type": "str"},
        "label_selectors": {"type": "list", "elements": "str", "default": []},
        "field_selectors": {"type": "list", "elements": "str", "default": []},
    }
