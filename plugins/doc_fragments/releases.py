# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options shared by the modules that work on Helm releases."""

from __future__ import annotations


class ModuleDocFragment:
    """The options `releases` and `kubeconfig`."""

    DOCUMENTATION = r"""
options:
  releases:
    description: The releases. The order counts for nothing, see O(releases[].after).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the release.
        type: str
        required: true
      namespace:
        description: Its namespace.
        type: str
        required: true
      chart:
        description: Folder of the chart.
        type: path
        required: true
      values:
        description: Values over those of the chart.
        type: dict
        default: {}
      after:
        description: Releases of the list that have to be ready before this one is worked on.
        type: list
        elements: str
        default: []
      wait:
        description: Whether it has to be ready, with its Deployments, StatefulSets, DaemonSets and Jobs.
        type: bool
        default: true
  kubeconfig:
    description: Kubeconfig of the cluster.
    type: path
    required: true
"""
