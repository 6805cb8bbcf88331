# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes `ansible_collections.cicd.sandbox…` importable as it is in a playbook: by Ansible's own collection finder."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

REPOSITORY = Path(__file__).resolve().parents[1]
COLLECTIONS = REPOSITORY / ".collections"


def pytest_configure() -> None:
    if not (COLLECTIONS / "ansible_collections/cicd/sandbox/galaxy.yml").is_file():
        pytest.exit(f"{COLLECTIONS} does not link to this checkout: run `make venv` first", returncode=4)
    _AnsibleCollectionFinder(paths=[str(COLLECTIONS)])._install()


@pytest.fixture(scope="session")
def repository() -> Path:
    """Give the root of the checkout."""
    return REPOSITORY
