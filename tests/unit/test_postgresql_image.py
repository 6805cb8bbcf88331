# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entry point of the PostgreSQL image, with programs that only pretend."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from checkout import REPOSITORY

ENTRYPOINT = REPOSITORY / "images/postgresql/docker-entrypoint.sh"
# As the real one: a statement that fails in single-user mode is told, and the program ends with 0 all the same.
POSTGRES = """#!/bin/sh
[ "$1" = --single ] || { echo started; exit; }
for word; do [ "$name" != -D ] || directory=$word; name=$word; done
statement=$(cat)
case $statement in
  *ALTER*) printf '%s\n' "$statement" >> "$directory/altered" ;;
  CREATE*) if [ -n "${FULL:-}" ]; then echo 'ERROR:  could not extend file' >&2; else touch "$directory/quotes"; fi ;;
esac
[ "$name" = postgres ] || [ -e "$directory/$name" ] || { echo "FATAL:  no database $name" >&2; exit 1; }
"""
INITDB = """#!/bin/sh
for word; do case $word in --pgdata=*) mkdir "${word#*=}" && echo 17 > "${word#*=}/PG_VERSION" ;; esac; done
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name, script in (("postgres", POSTGRES), ("initdb", INITDB)):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def start(programs: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PGDATA": str(programs / "data/pgdata"),
        "POSTGRES_USER": "quotes",
        "POSTGRES_PASSWORD": "secret",
    }
    line = ["sh", str(ENTRYPOINT), "postgres"]
    return subprocess.run(line, check=False, capture_output=True, text=True, env={**settings, **environment})


def test_a_cluster_with_its_database_is_kept(programs: Path) -> None:
    started = start(programs)
    assert (started.returncode, started.stdout.splitlines()[-1]) == (0, "started")
    assert (programs / "data/pgdata/quotes").exists()
    assert [path.name for path in (programs / "data").iterdir()] == ["pgdata"]


def test_a_cluster_without_its_database_is_made_anew_by_the_next_start(programs: Path) -> None:
    refused = start(programs, FULL="1")
    assert refused.returncode != 0
    assert "could not extend file" in refused.stderr
    assert "database quotes could not be made" in refused.stderr
    assert not (programs / "data/pgdata").exists()
    assert start(programs).returncode == 0
    assert (programs / "data/pgdata/quotes").exists()


def test_a_new_password_becomes_the_users_at_the_next_start(programs: Path) -> None:
    start(programs)
    altered = programs / "data/pgdata/altered"
    # Made with it.
    assert not altered.exists()
    (programs / "password").write_text("it's\nnot this line\n")
    started = start(programs, POSTGRES_PASSWORD="", POSTGRES_PASSWORD_FILE=str(programs / "password"))
    assert (started.returncode, started.stdout.splitlines()[-1]) == (0, "started")
    assert altered.read_text().splitlines()[-1] == "ALTER ROLE \"quotes\" PASSWORD 'it''s';"


@pytest.mark.parametrize("why", ["standby", "no password"])
def test_no_password_is_set_where_none_can_be(programs: Path, why: str) -> None:
    start(programs)
    if why == "standby":
        (programs / "data/pgdata/standby.signal").touch()
    started = start(programs, POSTGRES_PASSWORD="" if why == "no password" else "another")
    assert (started.returncode, started.stdout.splitlines()[-1]) == (0, "started")
    assert not (programs / "data/pgdata/altered").exists()
