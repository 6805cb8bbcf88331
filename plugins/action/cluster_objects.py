# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: objects of the cluster that a kubeconfig leads to; documented in plugins/modules/cluster_objects.py."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from ansible.plugins.action import ActionBase
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import for_own_hosts


class ActionModule(ActionBase):
    """Hands over to a module of kubernetes.core, to which the environment is stronger than the kubeconfig it is given.

    An empty value in a task's ``environment`` would count as well: the variables have to be gone.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True
    MODULE: ClassVar[str] = "kubernetes.core.k8s"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "kubeconfig": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
        "definition": {"type": "raw"},
        "api_version": {"type": "str", "default": "v1"},
        "kind": {"type": "str"},
        "namespace": {"type": "str"},
        "name": {"type": "str"},
        "apply": {"type": "bool", "default": False},
        "server_side_apply": {"type": "dict"},
    }

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module in an environment that speaks of no other cluster, and of no proxy."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(self.ARGUMENTS)
        arguments = {name: value for name, value in given.items() if value is not None}
        # This process is the task's own.
        for name in set(os.environ) - set(for_own_hosts(os.environ)):
            del os.environ[name]
        result |= self._execute_module(self.MODULE, self.translated(arguments), task_vars=task_vars)
        return result

    def translated(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments as the module takes them."""
        return arguments
