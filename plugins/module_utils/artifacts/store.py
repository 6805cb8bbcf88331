# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs files from the artifact store, verified by the store's SHA256SUMS."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from ansible.module_utils.urls import open_url
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.host.web import FAILURES, said_by

SUMS = "SHA256SUMS"
CHUNK = 1 << 20


class StoreError(Exception):
    """A file can't be had from the store, or is not what the store says it is."""


@dataclass(frozen=True)
class WantedFile:
    """A file of the store and its place; owner and group as names or numbers."""

    name: str
    dest: Path
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> WantedFile:
        """Of a module's arguments. Raises StoreError where they can't be meant."""
        dest = Path(values["dest"])
        if not dest.is_absolute():
            raise StoreError(f"dest of {values['name']} is {str(dest)!r}, which is not an absolute path")
        if str(values["dest"]).endswith("/") or dest.is_dir():
            dest /= values["name"]
        try:
            mode = int(str(values.get("mode") or "0755"), 8)
        except ValueError as error:
            raise StoreError(f"mode of {values['name']} is {values['mode']!r}, which is not octal") from error
        return cls(values["name"], dest, mode, values.get("owner") or "root", values.get("group") or "root")

    def ids(self) -> tuple[int, int]:
        """Numbers of owner and group. Raises StoreError for unknown names."""
        try:
            user = int(self.owner) if self.owner.isdigit() else pwd.getpwnam(self.owner).pw_uid
            group = int(self.group) if self.group.isdigit() else grp.getgrnam(self.group).gr_gid
        except KeyError as error:
            raise StoreError(f"{self.name}: {error.args[0]}") from error
        return user, group


class Store:
    """One component's folder in the store."""

    def __init__(self, url: str, component: str, version: str, ca_path: str | None = None, timeout: float = 60) -> None:
        self._base = f"{url.rstrip('/')}/{component}/{version}"
        if not self._base.startswith(("https://", "http://127.0.0.1:")):
            raise StoreError(f"{url} is not an https address")
        self._timeout = timeout
        self._ca_path = ca_path

    def _open(self, name: str) -> HTTPResponse:
        try:
            answer: HTTPResponse = open_url(
                f"{self._base}/{name}",
                timeout=self._timeout,
                ca_path=self._ca_path,
                use_netrc=False,
                use_proxy=False,
            )
            return answer
        except HTTPError as error:
            hint = ": it was not published; is it in artifacts_await?" if error.code == 404 else ""
            raise StoreError(f"{self._base}/{name}: HTTP {error.code}{hint}") from error
        except FAILURES as error:
            raise StoreError(f"{self._base}/{name}: {said_by(error)}") from error

    def sums(self) -> dict[str, str]:
        """File → SHA-256."""
        try:
            with self._open(SUMS) as answer:
                lines = answer.read().decode().splitlines()
        except FAILURES as error:
            raise StoreError(f"{self._base}/{SUMS}: {said_by(error)}") from error
        return {name.lstrip("*"): value for value, _, name in (line.partition("  ") for line in lines) if name}

    def fetch(self, wanted: WantedFile, expected: str) -> None:
        """Put a file in its place in one step; a running program keeps its old one."""
        wanted.dest.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        try:
            with self._open(wanted.name) as answer, files.replacing(wanted.dest, wanted.mode) as stream:
                while chunk := answer.read(CHUNK):
                    digest.update(chunk)
                    stream.write(chunk)
                if digest.hexdigest() != expected:
                    found = f"{self._base}/{wanted.name} has the sum {digest.hexdigest()}, {SUMS} says {expected}"
                    remedy = f"Remove {urlsplit(self._base).path} from the store; the next run fills it again"
                    raise StoreError(f"{found}: it is damaged. {remedy}")
                os.fchown(stream.fileno(), *wanted.ids())
        except (HTTPException, EOFError, zlib.error) as error:
            raise StoreError(f"{self._base}/{wanted.name}: {said_by(error)}") from error


def file_sum(path: Path) -> str:
    """SHA-256 of a file, nothing if there is none."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def attributes_differ(wanted: WantedFile) -> bool:
    """Whether mode, owner or group are not as wanted."""
    status = wanted.dest.stat()
    return (status.st_mode & 0o7777, status.st_uid, status.st_gid) != (wanted.mode, *wanted.ids())


def apply_attributes(wanted: WantedFile, path: Path) -> None:
    """Set mode, owner and group of a file."""
    os.chown(path, *wanted.ids())
    path.chmod(wanted.mode)


def install(store: Store, wanted_files: Sequence[WantedFile], dry_run: bool = False) -> list[str]:
    """Install files; the paths of those that changed, or would."""
    sums = store.sums()
    unknown = [wanted.name for wanted in wanted_files if wanted.name not in sums]
    if unknown:
        raise StoreError(f"the store has no {', '.join(unknown)} there, it has {', '.join(sorted(sums))}")
    changed = []
    for wanted in wanted_files:
        if file_sum(wanted.dest) != sums[wanted.name]:
            if not dry_run:
                store.fetch(wanted, sums[wanted.name])
        elif attributes_differ(wanted):
            if not dry_run:
                apply_attributes(wanted, wanted.dest)
        else:
            continue
        changed.append(str(wanted.dest))
    return changed
