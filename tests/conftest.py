# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes `ansible_collections.cicd.sandbox…` importable as it is in a playbook: by Ansible's own collection finder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from checkout import REPOSITORY
from settled import settle

COLLECTIONS = REPOSITORY / ".collections"


def pytest_configure() -> None:
    if not (COLLECTIONS / "ansible_collections/cicd/sandbox/galaxy.yml").is_file():
        pytest.exit(f"{COLLECTIONS} does not link to this checkout: run `make venv` first", returncode=4)
    _AnsibleCollectionFinder(paths=[str(COLLECTIONS)])._install()

    settle()
    # Tests call ansible-playbook and its like: those beside this Python, with the checkout's settings.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.environ["ANSIBLE_CONFIG"] = str(REPOSITORY / "ansible.cfg")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Give the root of the checkout."""
    return REPOSITORY
