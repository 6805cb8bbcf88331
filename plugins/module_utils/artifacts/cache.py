# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A content-keyed cache of artifacts that survives being killed at any moment.

Layout under the cache directory::

    artifacts/<name>/<version>-<key>/   an entry: files, SHA256SUMS and .stamp.json
    artifacts/<name>/.partial-<key>/    an entry in the making; whoever holds its lock may remove it
    queue/status/<name>-<key>.json      what is known of the entry's making
    queue/log/<name>-<key>.log          everything its tools said
    queue/lock/                         advisory locks (flock): they vanish with their owner
    queue/awaited/<name>-<key>          is locked, shared, by each who waits for the entry

``SHA256SUMS`` has the format of sha256sum(1). ``.stamp.json`` keeps size and modification time beside each sum, so
that an unchanged entry is known to be whole without reading it; a file whose stamp differs is read again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.effort import Effort
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import UMASK, tidied

SUMS = "SHA256SUMS"
STAMP = ".stamp.json"
KEY_LENGTH = 8
TAIL_LINES = 20


class ArtifactError(Exception):
    """Something the user can act on; the message says what, where and what the tool itself said."""


def content_key(recipe: object) -> str:
    """The first eight hexadecimal digits of the SHA-256 of anything JSON can express."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_sum(path: Path, pinned: str) -> None:
    """Raise ArtifactError where a file has another SHA-256 than the pinned one; an empty one checks nothing."""
    found = sha256_file(path) if pinned else ""
    if found != pinned:
        raise ArtifactError(f"{path.name} has the sum {found}, the catalogue pins {pinned}")


def content_files(directory: Path) -> list[str]:
    """Relative paths of an entry's own files, sorted; the book-keeping is left out."""
    found = []
    for folder, _, names in os.walk(directory):
        for name in names:
            relative = str((Path(folder) / name).relative_to(directory))
            if relative not in (SUMS, STAMP):
                found.append(relative)
    return sorted(found)


def format_sums(sums: Mapping[str, str]) -> str:
    """The text of a SHA256SUMS file for relative path → sum."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def parse_sums(text: str) -> dict[str, str]:
    """Relative path → sum of a SHA256SUMS text; both the text and the binary mark ("*") are understood."""
    sums = {}
    for line in text.splitlines():
        value, _, name = line.strip().partition(" ")
        if name:
            sums[name.strip().removeprefix("*").removeprefix("./")] = value
    return sums


@dataclass(frozen=True)
class Entry:
    """One version of one artifact, made by one recipe."""

    cache: Path
    name: str
    version: str
    key: str
    kind: str = "artifacts"

    @property
    def directory(self) -> Path:
        """Where the finished entry lies."""
        return self.cache / self.kind / self.name / f"{self.version}-{self.key}"

    @property
    def partial(self) -> Path:
        """Where the entry is being made; on the same file system, so that a rename publishes it."""
        return self.cache / self.kind / self.name / f".partial-{self.key}"

    @property
    def label(self) -> str:
        """A name for locks, logs and status files."""
        return f"{self.name}-{self.key}"

    @property
    def lock(self) -> Path:
        """Held while the entry is being made."""
        return self.cache / "queue" / "lock" / self.label

    @property
    def awaited(self) -> Path:
        """Locked by whoever waits for the entry; there as long as it is in a queue."""
        return self.cache / "queue" / "awaited" / self.label

    @property
    def log(self) -> Path:
        """Everything the tools said."""
        return self.cache / "queue" / "log" / f"{self.label}.log"

    @property
    def status(self) -> Path:
        """What is known of the making."""
        return self.cache / "queue" / "status" / f"{self.label}.json"

    def present(self) -> bool:
        """Whether the finished entry is there; says nothing about its content."""
        return (self.directory / SUMS).is_file() and (self.directory / STAMP).is_file()

    def sums(self) -> dict[str, str]:
        """Relative path → SHA-256 of the finished entry."""
        return parse_sums((self.directory / SUMS).read_text())

    def damage(self, thorough: bool = False) -> str | None:
        """What is wrong with the finished entry, or None.

        Files are read again when their stamp differs, or always when `thorough`.
        """
        try:
            stamps: dict[str, list[Any]] = json.loads((self.directory / STAMP).read_text())
            sums = self.sums()
        except (OSError, ValueError) as error:
            return f"its book-keeping can't be read: {error}"
        if set(sums) != set(stamps):
            return f"{SUMS} and {STAMP} name different files"
        for name, (size, modified, expected) in stamps.items():
            path = self.directory / name
            try:
                status = path.lstat()
            except OSError:
                return f"{name} is missing"
            if sums[name] != expected:
                return f"{SUMS} was changed"
            if not thorough and (status.st_size, status.st_mtime_ns) == (size, modified):
                continue
            found = sha256_file(path)
            if found != expected:
                return f"{name} has the sum {found}, not {expected}"
        return None

    def usable(self) -> bool:
        """Whether the finished entry is there and whole."""
        return self.present() and self.damage() is None


def free_slots(cache: Path) -> Path:
    """The folder of the machine-wide locks that limit how many jobs run at once."""
    folder = cache / "queue" / "lock"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def one_slot(cache: Path, slots: int, interval: float = 0.5) -> Iterator[None]:
    """Hold one of `slots` machine-wide slots; waits until one is free."""
    folder = free_slots(cache)
    while True:
        for number in range(slots):
            stream = (folder / f"slot-{number}").open("a+")
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.close()
                continue
            with stream:
                yield
            return
        time.sleep(interval)


@dataclass
class Status:
    """What is known of an entry's making; written for other processes to show."""

    component: str
    version: str
    key: str
    state: str = "queued"
    step: str = ""
    detail: str = ""
    error: str = ""
    log: str = ""
    since: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    seconds: float = 0.0
    pid: int = field(default_factory=os.getpid)

    @classmethod
    def of(cls, entry: Entry) -> Status:
        """A fresh status for an entry."""
        return cls(entry.name, entry.version, entry.key, log=str(entry.log))

    @classmethod
    def read(cls, entry: Entry) -> Status | None:
        """What was last written for an entry, or None."""
        try:
            return cls(**json.loads(entry.status.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def finish(self, entry: Entry) -> None:
        """Write down that the entry is made, and how long that took."""
        self.write(entry, state="done", step="", detail="", seconds=round(time.time() - self.since, 1))

    def write(self, entry: Entry, **changes: Any) -> None:
        """Change fields and write the file."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.updated = time.time()
        files.write(entry.status, json.dumps(asdict(self), indent=1) + "\n")


def remove_tree(path: Path) -> None:
    """Remove a folder with whatever is still mounted in it; Go's read-only module folders too."""
    if not path.exists():
        return
    prefix = f"{path}/"
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(prefix)), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    for folder, names, _ in os.walk(path):
        for name in names:
            inner = Path(folder) / name
            if not inner.is_symlink():
                inner.chmod(inner.stat().st_mode | 0o700)
    shutil.rmtree(path)


def seal(directory: Path) -> dict[str, str]:
    """Write SHA256SUMS and the stamps of a folder's files, all of it on the disk when this returns."""
    sums: dict[str, str] = {}
    stamps: dict[str, list[Any]] = {}
    for name in content_files(directory):
        path = directory / name
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        status = path.stat()
        sums[name] = sha256_file(path)
        stamps[name] = [status.st_size, status.st_mtime_ns, sums[name]]
    (directory / SUMS).write_text(format_sums(sums))
    (directory / STAMP).write_text(json.dumps(stamps, sort_keys=True) + "\n")
    return sums


@contextlib.contextmanager
def making(entry: Entry) -> Iterator[Path]:
    """Make an entry: yields the empty partial folder, and publishes it when the block ends well.

    The caller holds the entry's lock. A damaged entry gives way only to a finished new one.
    """
    remove_tree(entry.partial)
    entry.partial.mkdir(parents=True)
    try:
        yield entry.partial
        seal(entry.partial)
        remove_tree(entry.directory)
        entry.partial.rename(entry.directory)
    except OSError as error:
        raise ArtifactError(f"{entry.name} {entry.version}: {error}") from error
    finally:
        remove_tree(entry.partial)


class Runner:
    """Runs tools: low priority, dying with this process, everything they say in the entry's log."""

    def __init__(self, entry: Entry, status: Status, effort: Effort | None = None) -> None:
        self._entry = entry
        self._status = status
        self._effort = effort or Effort()
        entry.log.parent.mkdir(parents=True, exist_ok=True)

    def step(self, text: str) -> None:
        """Say what is being done."""
        self._status.write(self._entry, step=text, detail="")

    def detail(self, text: str) -> None:
        """Say how far the step has come."""
        self._status.write(self._entry, detail=text)

    def run(
        self,
        argv: Sequence[str],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        progress: str = "",
        capture: bool = False,
    ) -> str:
        """Run a tool to its end; what it printed on standard output if `capture`.

        With `progress` (a noun in the plural) the lines it prints are counted and shown. Raises ArtifactError with
        the tool's last lines when it fails.
        """
        tail: list[str] = []
        count = 0
        shown = time.monotonic()
        with self._entry.log.open("a") as log:
            log.write(f"$ {' '.join(argv)}\n")
            log.flush()
            try:
                process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", "nice", "-n", str(self._effort.niceness), *argv],
                    cwd=cwd,
                    env=dict(env) if env is not None else tidied(os.environ),
                    umask=UMASK,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log if capture else subprocess.STDOUT,
                    text=True,
                    errors="replace",
                )
            except OSError as error:
                raise ArtifactError(f"{argv[0]} could not be started: {error}") from error
            output: list[str] = []
            with self._effort.of(process.pid), process:
                for line in process.stdout or ():
                    if capture:
                        output.append(line)
                        continue
                    log.write(line)
                    tail = [*tail, line.rstrip()][-200:]
                    count += 1
                    if progress and time.monotonic() - shown > 2:
                        shown = time.monotonic()
                        log.flush()
                        self.detail(f"{count} {progress}, last {line.strip()[:80]}")
            code = process.returncode
        if code != 0:
            if capture:
                tail = output or self._entry.log.read_text(errors="replace").splitlines()
            raise ArtifactError(f"{' '.join(argv[:3])} … ended with {code}:\n" + "\n".join(words(tail)))
        return "".join(output)


def words(lines: Sequence[str]) -> list[str]:
    """A tool's last lines that say something: Go's bare package names are progress, not words."""
    telling = [line for line in lines if line.strip() and ("/" not in line or any(c in line for c in " :"))]
    return [line for line in telling if not line.startswith("go: downloading ")][-TAIL_LINES:]
