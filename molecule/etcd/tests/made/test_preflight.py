"""Preflight on what stands: what the sandbox itself has is not in its own way."""

from __future__ import annotations

import re

from helpers import playbook


def test_finds_only_what_this_inventory_lacks():
    """Of a cluster, this scenario has no control plane; ports, disks and the local endpoint's socket are its own."""
    refused = playbook("preflight")
    findings = re.findall(r"^ +- (.+)$", refused.stdout.partition("msg: |-")[2], re.MULTILINE)
    assert findings == ["group control_plane: is missing. Give it a host, for the cluster's API."]
