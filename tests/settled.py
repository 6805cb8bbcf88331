# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has all tests, those of Molecule as well, run alike whatever environment they are started in."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from checkout import REPOSITORY

# Programs to test with.
_NAMED = {"HELM_BINARY", "HELM_DOCS_BINARY"}


def settle() -> None:
    """Take other clusters, other projects and ways to other hosts out of the environment; ask own hosts directly."""
    # The collection may not be importable yet.
    path = REPOSITORY / "plugins/module_utils/host/environment.py"
    spec = importlib.util.spec_from_file_location("own_environment", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    environment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(environment)

    environment.settle()
    kept = environment.tidied(os.environ, plays=True)
    ways = re.compile(r"ANSIBLE_(HOST_KEY_CHECKING|PRIVATE_KEY_FILE|REMOTE_USER|SSH_\w+|TIMEOUT)")
    for name in list(os.environ):
        foreign = environment.names_another_cluster(name) and name not in _NAMED
        if name not in kept or foreign or ways.fullmatch(name):
            del os.environ[name]

    inventory = Path(os.environ.get("SANDBOX_INVENTORY", "/nonexistent"), "hosts.yml")
    hosts = re.findall(r"\d+\.\d+\.\d+\.\d+", inventory.read_text(encoding="utf-8")) if inventory.exists() else []
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    direct = ",".join([*([given] if given else []), "localhost", ".localhost", "127.0.0.1", "::1", *hosts])
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = direct
