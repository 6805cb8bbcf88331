# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: take a Helm release away; documented in plugins/modules/helm_removal.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.cicd.sandbox.plugins.action import cluster_objects


class ActionModule(cluster_objects.ActionModule):
    """The same for the module that knows Helm."""

    MODULE: ClassVar[str] = "kubernetes.core.helm"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "kubeconfig": {"type": "path", "required": True},
        "binary_path": {"type": "path", "required": True},
        "name": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "timeout": {"type": "int", "default": 300},
    }

    def translated(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments as kubernetes.core.helm takes them."""
        return {
            "kubeconfig": arguments["kubeconfig"],
            "binary_path": arguments["binary_path"],
            "release_name": arguments["name"],
            "release_namespace": arguments["namespace"],
            "release_state": "absent",
            "wait": True,
            "timeout": f"{arguments['timeout']}s",
        }
