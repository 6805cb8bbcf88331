# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of clients of package registries."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.filter.client_environment import client_environment


def test_what_is_set_and_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above a variable stands the file that it names; a directory is none."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "pip.conf").touch()
    files = {
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "GOENV": str(tmp_path / "absent"),
        "MAVEN_SETTINGS": str(tmp_path),
        "NPM_CONFIG_USERCONFIG": "~/pip.conf",
        "EMPTY": "",
    }
    assert client_environment({"GOPROXY": "direct", "GOSUMDB": "", "PIP_CONFIG_FILE": "/other"}, files) == {
        "GOPROXY": "direct",
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "NPM_CONFIG_USERCONFIG": str(tmp_path / "pip.conf"),
    }
    assert client_environment({}) == {}
