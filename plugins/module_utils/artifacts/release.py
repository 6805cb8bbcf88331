# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads official release files and checks them against upstream's own checksum files."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.error import HTTPError, URLError

from ansible.module_utils.urls import open_url
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import (
    ArtifactError,
    Entry,
    Runner,
    Status,
    content_key,
    making,
    remove_tree,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.effort import Effort
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.go import (
    GoBuilder,
    GoRecipe,
    Toolchain,
    install_toolchain,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.packages import Package
from ansible_collections.cicd.sandbox.plugins.module_utils.host.bounded import within
from ansible_collections.cicd.sandbox.plugins.module_utils.host.locks import held
from ansible_collections.cicd.sandbox.plugins.module_utils.host.web import FAILURES, said_by

CHUNK = 1 << 20
AGENT = "cicd.sandbox"
TIMEOUT = 60
ATTEMPTS = 4
# A server that sends less than so many bytes in so many seconds has stopped, as to curl's --speed-limit: the limit of
# a connection is one of each byte.
LEAST_BYTES = 16 << 10
LEAST_SECONDS = 60.0
PAUSE = 2.0  # seconds before the second attempt; each later one waits twice as long

Found = TypeVar("Found")


@dataclass(frozen=True)
class Release:
    """One official file.

    sums: URL of a checksum file: lines as sha256sum writes them, or the bare sum of this one file.
    sum: the file's SHA-256 where upstream publishes none.
    members: name in the entry → path in the archive (tar or zip); empty for a file that is the program itself.
    program: the name of that in the entry, where it is not the file's own.
    """

    url: str
    sums: str = ""
    members: dict[str, str] = field(default_factory=dict)
    sum: str = ""
    program: str = ""

    def __post_init__(self) -> None:
        if not self.sums and not self.sum:
            raise ArtifactError(f"{self.url}: neither a file of sums is named nor a sum pinned")
        if self.members and self.program:
            raise ArtifactError(f"{self.url}: it can't have members and be the program {self.program} itself")

    def identity(self) -> dict[str, Any]:
        """All that decides what is in the entry, for a key."""
        known = {"url": self.url, "sums": self.sums, "members": self.members}
        return {**known, "program": self.program} if self.program else known

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]


def release_key(releases: Sequence[Release], modules: Sequence[GoRecipe]) -> str:
    """The cache key of an entry made of official files."""
    return content_key({"release": [r.identity() for r in releases], "modules": [m.identity() for m in modules]})


def find_sum(text: str, name: str) -> str:
    """The SHA-256 that a checksum file states for `name`; a file of one bare sum speaks for its one file.

    Raises ArtifactError where none is stated.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    for words in lines:
        if len(words) >= 2 and words[-1].lstrip("*").rpartition("/")[2] == name:
            value = words[0]
            break
    else:
        if len(lines) != 1 or len(lines[0]) != 1:
            raise ArtifactError(f"the checksum file does not name {name}")
        value = lines[0][0]
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise ArtifactError(f"{value!r} is no SHA-256 sum of {name}")
    return value.lower()


def _passes(error: Exception) -> bool:
    """Whether a failure is one of the network's or a busy server's, which may be gone in a moment."""
    if isinstance(error, HTTPError):
        return error.code in (408, 429) or error.code >= 500
    if isinstance(error, URLError):
        return isinstance(error.reason, ConnectionError | TimeoutError | socket.gaierror)
    return isinstance(error, ConnectionError | TimeoutError | HTTPException | EOFError)


def _get(url: str, runner: Runner, read: Callable[[HTTPResponse], Found]) -> Found:
    """What `read` makes of a URL's content; from the beginning again, some times, where a failure may pass.

    Raises ArtifactError with the URL and the last failure.
    """
    if not url.startswith(("http://", "https://")):
        raise ArtifactError(f"{url} is neither http nor https")
    attempt = 1
    while True:
        try:
            with open_url(url, timeout=TIMEOUT, http_agent=AGENT, use_netrc=False) as answer:
                return read(answer)
        except FAILURES as error:
            if attempt == ATTEMPTS or not _passes(error):
                raise ArtifactError(f"{url}: {error}") from error
            time.sleep(PAUSE * 2 ** (attempt - 1))
            attempt += 1
            runner.detail(f"attempt {attempt}, after: {error}")


def _parts(answer: HTTPResponse) -> Iterator[bytes]:
    """Yield what comes, as it comes. ConnectionError where too little does."""
    since, came = time.monotonic(), 0
    # An answer that is compressed has no such method, and gives what it has.
    read = getattr(answer, "read1", answer.read)
    while part := read(CHUNK):
        came += len(part)
        yield part
        waited = time.monotonic() - since
        if waited > LEAST_SECONDS and came < LEAST_BYTES:
            raise ConnectionError(f"only {came} bytes came in {waited:.0f} s")
        if waited > LEAST_SECONDS:
            since, came = time.monotonic(), 0


def _whole(answer: HTTPResponse) -> bytes:
    return b"".join(_parts(answer))


def download(release: Release, target: Path, runner: Runner) -> None:
    """Download a file and check its sum.

    Raises ArtifactError when it can't be had or is not what upstream says it is.
    """

    def save(answer: HTTPResponse) -> str:
        """The SHA-256 of what was written to `target`."""
        digest = hashlib.sha256()
        done, shown = 0, time.monotonic()
        with target.open("wb") as stream:
            for chunk in _parts(answer):
                digest.update(chunk)
                stream.write(chunk)
                done += len(chunk)
                if time.monotonic() - shown > 2:
                    shown = time.monotonic()
                    runner.detail(f"{done >> 20} MiB")
        # Reading in parts, HTTPResponse takes an early end for the end.
        length = answer.headers["Content-Length"]
        if length and done < int(length):
            raise ConnectionError(f"the connection ended after {done} of {length} bytes")
        return digest.hexdigest()

    runner.step(f"downloading {release.url}")
    expected = release.sum
    if not expected:
        expected = find_sum(_get(release.sums, runner, _whole).decode(errors="replace"), release.name)
    found = _get(release.url, runner, save)
    if found != expected:
        stated = "the catalogue pins" if release.sum else "upstream states"
        raise ArtifactError(f"{release.url} has the sum {found}, {stated} {expected}")


def unpack(release: Release, archive: Path, output: Path) -> None:
    """Put the wanted members of a downloaded file into `output`."""
    if not release.members:
        target = output / (release.program or release.name)
        shutil.move(archive, target)
        target.chmod(0o755)
        return
    try:
        with _opened(archive, release.name) as members:
            names = {name.removeprefix("./"): name for name in members.names}
            for wanted, member in release.members.items():
                stored = names.get(member.removeprefix("./"))
                stream = members.read(stored) if stored else None
                if stream is None:
                    raise ArtifactError(f"{release.name} has no file {member}")
                with stream, (output / wanted).open("wb") as target_stream:
                    shutil.copyfileobj(stream, target_stream, CHUNK)
                (output / wanted).chmod(0o755)
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{release.name}: {error}") from error


@dataclass(frozen=True)
class _Members:
    names: list[str]
    read: Callable[[str], IO[bytes] | None]


@contextmanager
def _opened(archive: Path, name: str) -> Iterator[_Members]:
    """Open an archive of either kind."""
    if name.endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            yield _Members([info.filename for info in packed.infolist() if not info.is_dir()], packed.open)
    else:
        with tarfile.open(archive) as tar:
            yield _Members(tar.getnames(), tar.extractfile)


def fetch_entry(
    entry: Entry,
    releases: Sequence[Release],
    modules: Sequence[GoRecipe],
    toolchain: Toolchain,
    effort: Effort | None = None,
    packages: Sequence[Package] = (),
) -> bool:
    """Make sure an entry of official files and packages is in the cache; whether it had to be fetched.

    Folders of Go modules (charts, manifests) that upstream publishes no archive of come from the module itself.
    """
    with held(entry.lock):
        if entry.usable():
            return False
        status = Status.of(entry)
        status.write(entry, state="building")
        work = entry.partial.with_name(f".work-{entry.key}")
        try:
            runner = Runner(entry, status, effort)
            entry.log.write_text("")
            with making(entry) as partial:
                remove_tree(work)
                work.mkdir(parents=True)
                for release in releases:
                    download(release, work / release.name, runner)
                    unpack(release, work / release.name, partial)
                for package in packages:
                    package.fetch(work / "package", entry.cache, partial, runner)
                if modules:
                    go = install_toolchain(toolchain, runner, entry.lock.with_name("go-toolchain"))
                    builder = GoBuilder(entry.cache, go, runner)
                    for module in modules:
                        builder.build(module, work / "module", partial)
        except ArtifactError as error:
            status.write(entry, state="failed", error=str(error))
            raise
        finally:
            remove_tree(work)
        status.finish(entry)
        return True


def reachable(url: str, timeout: float) -> str:
    """Why a URL can't be had, or nothing if it can; one HEAD request, of no more than ``timeout`` seconds."""

    def ask() -> None:
        open_url(url, method="HEAD", timeout=timeout, http_agent=AGENT, use_netrc=False).close()

    try:
        # The limit of open_url is one of each step, and none of names.
        within(timeout, ask)
        return ""
    except HTTPError as error:
        # A registry answers 401 to who has not asked for a token: it is there.
        return "" if error.code == 401 else f"{url}: HTTP {error.code}"
    except TimeoutError:
        return f"{url}: no answer within {timeout:g} s"
    except FAILURES as error:
        return f"{url}: {said_by(error)}"


def find_source(wanted: str, probes: Sequence[str], timeout: float) -> dict[str, str]:
    """{source, network, reason}: where components come from, and why. Probes run side by side."""
    if wanted == "build":
        return {"source": wanted, "network": "not probed", "reason": f"artifacts_source is {wanted}"}
    with ThreadPoolExecutor(max_workers=max(len(probes), 1)) as pool:
        refusals = [refusal for refusal in pool.map(lambda url: reachable(url, timeout), probes) if refusal]
    if refusals and wanted == "release":
        reason = f"artifacts_source is release, but official releases can't be had from here ({refusals[0]})"
        return {"source": "release", "network": "closed", "reason": reason}
    if refusals:
        reason = f"no official releases from here ({refusals[0]}): all is built from package registries"
        return {"source": "build", "network": "closed", "reason": reason}
    return {"source": "release", "network": "open", "reason": "official releases can be had: they are used"}


def kept_source(path: Path, wanted: str) -> dict[str, str]:
    """What an earlier run found and kept at the path, if it wanted the same; otherwise nothing."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict) or known.get("wanted") != wanted or "source" not in known:
        return {}
    return {str(name): str(value) for name, value in known.items()}
