# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entry point of the Valkey image, with a server that only pretends."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest
from checkout import REPOSITORY

ENTRYPOINT = REPOSITORY / "images/valkey/docker-entrypoint.sh"
RIGHTS = "~quotes:* +xadd"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    server = tmp_path / "valkey-server"
    server.write_text('#!/bin/sh\necho "started $*"\n')
    server.chmod(0o755)
    return tmp_path


def start(root: Path, password: str, *earlier: str) -> subprocess.CompletedProcess[str]:
    (root / "password").write_text(password)
    (root / "earlier").write_text("\n".join(earlier))
    settings = {
        "PATH": f"{root}:{os.environ['PATH']}",
        "VALKEY_USERS_FILE": str(root / "users.acl"),
        "VALKEY_USER": "quotes",
        "VALKEY_PASSWORD_FILE": str(root / "password"),
        "VALKEY_PASSWORD_EARLIER_FILE": str(root / "earlier"),
        "VALKEY_RIGHTS": RIGHTS,
    }
    line = ["sh", str(ENTRYPOINT), "valkey-server", "/etc/valkey.conf"]
    return subprocess.run(line, check=False, capture_output=True, text=True, env=settings)


def sums(*passwords: str) -> str:
    return " ".join(f"#{hashlib.sha256(password.encode()).hexdigest()}" for password in passwords)


def users(root: Path) -> list[str]:
    return (root / "users.acl").read_text().splitlines()


def test_the_user_has_its_password_and_its_rights_and_others_none(root: Path) -> None:
    password = "it's\\a #secret"
    started = start(root, f"{password}\n")
    assert (started.returncode, started.stdout) == (0, "started /etc/valkey.conf\n")
    default, *others = users(root)
    # What is read from the appended commands at the start is done as this user.
    assert re.fullmatch(r"user default on #[0-9a-f]{64} ~\* &\* \+@all", default)
    assert others == [
        "user probe on nopass resetkeys resetchannels -@all +ping",
        f"user quotes on {sums(password)} resetkeys resetchannels -@all {RIGHTS}",
    ]
    start(root, password)
    assert users(root)[0] != default
    assert (root / "users.acl").stat().st_mode & 0o777 == 0o600
    assert "secret" not in (root / "users.acl").read_text() + started.stdout + started.stderr


def test_an_earlier_password_is_good_as_long_as_it_was(root: Path) -> None:
    start(root, "first")
    # A restart before the clients know the new one.
    start(root, "second", "first", "never was")
    assert f" {sums('second', 'first')} " in users(root)[2]
    # Once the new one is the only one it stays so.
    (root / "users.acl").write_text(f"user quotes on sanitize-payload {sums('second')} ~quotes:*\n")
    start(root, "second", "first", "never was")
    assert f" on {sums('second')} resetkeys" in users(root)[2]


def test_no_password_is_no_user(root: Path) -> None:
    refused = start(root, "\n")
    assert refused.returncode == 1
    assert "password is empty" in refused.stderr
    assert not (root / "users.acl").exists()
