# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Official releases, from a server on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import io
import json
import socket
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, cast

import fake_go
import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts import release as artifacts_release
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError, Entry, Runner, Status
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.effort import Effort
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.go import GoRecipe, Toolchain
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.release import (
    Release,
    download,
    fetch_entry,
    find_source,
    find_sum,
    reachable,
    release_key,
)
from ansible_collections.cicd.sandbox.plugins.modules import artifacts_source
from local_server import Answer, serving
from modules import run_module
from playbook_run import run_playbook

SUM = "a" * 64


class Silent:
    """Says nothing of what is done."""

    def step(self, _text: str) -> None:
        """Say nothing."""

    detail = step


class Quiet(SimpleHTTPRequestHandler):
    """A file server that says nothing and wants a token for /v2/, as registries do.

    `faults`: what befalls the next requests of a path before one is answered as it should be: a status, or the number
    of bytes after which the connection ends, as a negative number.
    """

    faults: ClassVar[dict[str, list[int]]] = {}
    # Paths of files that come byte by byte.
    drips: ClassVar[set[str]] = set()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        if self.path in self.drips:
            # Until nobody listens any more.
            with contextlib.suppress(OSError):
                while byte := source.read(1) or b" ":
                    outputfile.write(byte)
                    outputfile.flush()
                    time.sleep(0.05)
        if faults := self.faults.get(self.path):
            outputfile.write(source.read(-faults.pop()))
            outputfile.flush()
            # A reset, not an end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            super().copyfile(source, outputfile)

    def do_GET(self) -> None:
        faults = self.faults.get(self.path)
        if faults and faults[-1] > 0:
            self.send_error(faults.pop())
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        if self.path == "/v2/":
            self.send_error(401)
        else:
            super().do_HEAD()


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which it is served."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    cache = tmp_path / "cache"
    cache.mkdir()
    return cache


def archive(path: Path, **members: str) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"./bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))


def state_sums(folder: Path, name: str) -> None:
    value = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  other\n{value} *{name}\n")


def publish_program(folder: Path) -> None:
    """Put a program, `tool`, and its bare sum there."""
    (folder / "tool").write_text("program")
    (folder / "tool.sha256").write_text(hashlib.sha256(b"program").hexdigest())


def fetch(cache: Path, *releases: Release) -> Entry:
    entry = Entry(cache, "tool", "1.0", release_key(releases, []))
    fetch_entry(entry, releases, [], Toolchain("1.26.8", None), effort=Effort(0))
    return entry


def test_what_upstream_states_no_sum_of_is_pinned(upstream: tuple[Path, str], cache: Path) -> None:
    folder, url = upstream
    publish_program(folder)
    value = hashlib.sha256(b"program").hexdigest()
    entry = fetch(cache, Release(f"{url}/tool", sum=value, program="named"))
    assert (entry.directory / "named").read_text() == "program"
    assert (entry.directory / "named").stat().st_mode & 0o777 == 0o755
    with pytest.raises(ArtifactError, match=f"has the sum {value}, the catalogue pins {SUM}"):
        fetch(cache, Release(f"{url}/tool", sum=SUM))
    with pytest.raises(ArtifactError, match="neither a file of sums is named nor a sum pinned"):
        Release(f"{url}/tool")
    with pytest.raises(ArtifactError, match="can't have members and be the program named itself"):
        Release(f"{url}/tool", sum=SUM, members={"a": "b"}, program="named")


def test_members_of_a_zip_archive_are_taken(upstream: tuple[Path, str], cache: Path) -> None:
    folder, url = upstream
    with zipfile.ZipFile(folder / "tool.zip", "w") as packed:
        packed.writestr("bin/", "")
        packed.writestr("bin/tool", "program")
    state_sums(folder, "tool.zip")
    entry = fetch(cache, Release(f"{url}/tool.zip", f"{url}/SHA256SUMS", {"it": "bin/tool"}))
    assert (entry.directory / "it").read_text() == "program"
    assert (entry.directory / "it").stat().st_mode & 0o777 == 0o755
    for member in ("bin/none", "bin"):
        with pytest.raises(ArtifactError, match=f"tool.zip has no file {member}"):
            fetch(cache, Release(f"{url}/tool.zip", f"{url}/SHA256SUMS", {"it": member}))
    (folder / "tool.zip").write_text("no archive")
    state_sums(folder, "tool.zip")
    with pytest.raises(ArtifactError, match="File is not a zip file"):
        fetch(cache, Release(f"{url}/tool.zip", f"{url}/SHA256SUMS", {"x": "bin/tool"}))


def test_the_key_of_a_release_knows_its_name_and_not_its_sum() -> None:
    known = Release("https://example.com/tool", "https://example.com/tool.sha256")
    assert release_key([known], []) == release_key([dataclasses.replace(known, sum=SUM)], [])
    assert release_key([known], []) != release_key([dataclasses.replace(known, program="x")], [])


@pytest.mark.parametrize(
    "text",
    [
        f"{SUM}  tool.tgz\n",
        f"{SUM} *tool.tgz\n",
        f"{'b' * 64}  other.tgz\n{SUM}  dist/tool.tgz\n",
        f"{SUM}\n",
        SUM.upper(),
    ],
)
def test_checksum_files_are_read_as_upstreams_write_them(text: str) -> None:
    assert find_sum(text, "tool.tgz") == SUM


@pytest.mark.parametrize("text", ["", f"{SUM}  other.tgz\n", "not found\n", f"{SUM[:40]}  tool.tgz\n", "<html>"])
def test_a_checksum_file_without_the_sum_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError):
        find_sum(text, "tool.tgz")


def test_an_archive_is_verified_and_its_members_are_taken(upstream: tuple[Path, str], cache: Path) -> None:
    folder, url = upstream
    archive(folder / "tool.tgz", tool="program", unwanted="no")
    state_sums(folder, "tool.tgz")
    entry = fetch(cache, Release(f"{url}/tool.tgz", f"{url}/SHA256SUMS", {"tool": "bin/tool"}))
    assert list(entry.sums()) == ["tool"]
    assert (entry.directory / "tool").read_text() == "program"
    assert (entry.directory / "tool").stat().st_mode & 0o777 == 0o755
    assert sorted(path.name for path in entry.directory.parent.iterdir()) == [entry.directory.name]


def test_a_bare_program_is_verified(upstream: tuple[Path, str], cache: Path) -> None:
    folder, url = upstream
    publish_program(folder)
    entry = fetch(cache, Release(f"{url}/tool", f"{url}/tool.sha256"))
    assert (entry.directory / "tool").read_text() == "program"


def test_what_is_cached_is_not_fetched_again(upstream: tuple[Path, str], cache: Path) -> None:
    folder, url = upstream
    publish_program(folder)
    release = Release(f"{url}/tool", f"{url}/tool.sha256")
    fetch(cache, release)
    (folder / "tool").unlink()
    assert fetch(cache, release).usable()


def test_another_content_than_upstream_states_is_refused(upstream: tuple[Path, str], cache: Path) -> None:
    folder, url = upstream
    archive(folder / "tool.tgz", tool="program")
    state_sums(folder, "tool.tgz")
    archive(folder / "tool.tgz", tool="something else")
    release = Release(f"{url}/tool.tgz", f"{url}/SHA256SUMS", {"tool": "bin/tool"})
    with pytest.raises(ArtifactError, match="upstream states"):
        fetch(cache, release)
    entry = Entry(cache, "tool", "1.0", release_key([release], []))
    assert not entry.directory.exists()
    status = Status.read(entry)
    assert status is not None
    assert status.state == "failed"


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """See Quiet; and nobody waits before the next attempt."""
    monkeypatch.setattr(artifacts_release, "PAUSE", 0)
    found: dict[str, list[int]] = {}
    monkeypatch.setattr(Quiet, "faults", found)
    return found


@pytest.mark.parametrize("fault", [503, 429, -3])
def test_what_fails_in_passing_is_tried_again(
    upstream: tuple[Path, str], cache: Path, faults: dict[str, list[int]], fault: int
) -> None:
    folder, url = upstream
    publish_program(folder)
    faults.update({"/tool": [fault, fault], "/tool.sha256": [fault]})
    entry = fetch(cache, Release(f"{url}/tool", f"{url}/tool.sha256"))
    assert (entry.directory / "tool").read_text() == "program"
    assert faults == {"/tool": [], "/tool.sha256": []}


@pytest.mark.parametrize(
    ("fault", "asked", "said"),
    [
        (503, artifacts_release.ATTEMPTS, "tool: HTTP Error 503"),
        (-3, artifacts_release.ATTEMPTS, "tool: (the connection ended after 3 of 7 bytes|.*reset by peer)"),
        (403, 1, "tool: HTTP Error 403"),
    ],
)
def test_what_goes_on_failing_is_told(
    upstream: tuple[Path, str], cache: Path, faults: dict[str, list[int]], fault: int, asked: int, said: str
) -> None:
    folder, url = upstream
    publish_program(folder)
    faults["/tool"] = [fault] * 10
    with pytest.raises(ArtifactError, match=said):
        fetch(cache, Release(f"{url}/tool", f"{url}/tool.sha256"))
    assert len(faults["/tool"]) == 10 - asked


@pytest.mark.parametrize("drips", ["/tool", "/tool.sha256"])
def test_a_server_that_drips_is_given_up(
    upstream: tuple[Path, str], cache: Path, faults: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch, drips: str
) -> None:
    """Each byte comes within the limit of a connection; all of them would take days."""
    folder, url = upstream
    publish_program(folder)
    (folder / "tool").write_text("program" * 1000)
    monkeypatch.setattr(Quiet, "drips", {drips})
    monkeypatch.setattr(artifacts_release, "LEAST_SECONDS", 0.3)
    begin = time.monotonic()
    with pytest.raises(ArtifactError, match=rf"{drips}: only \d+ bytes came in 0 s"):
        fetch(cache, Release(f"{url}/tool", f"{url}/tool.sha256"))
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    ("name", "sums", "members", "said"),
    [
        ("none.tgz", "SHA256SUMS", {}, "SHA256SUMS: HTTP Error 404"),
        ("tool.tgz", "tool.sums", {"tool": "bin/other"}, "has no file bin/other"),
        ("plain.tgz", "plain.sums", {"tool": "bin/tool"}, "plain.tgz: "),
    ],
)
def test_what_is_not_there_is_told(
    upstream: tuple[Path, str], cache: Path, name: str, sums: str, members: dict[str, str], said: str
) -> None:
    folder, url = upstream
    archive(folder / "tool.tgz", tool="program")
    (folder / "plain.tgz").write_text("no archive")
    for served in ("tool", "plain"):
        content = (folder / f"{served}.tgz").read_bytes()
        (folder / f"{served}.sums").write_text(hashlib.sha256(content).hexdigest())
    with pytest.raises(ArtifactError, match=said):
        fetch(cache, Release(f"{url}/{name}", f"{url}/{sums}", members))


def test_only_http_is_fetched(cache: Path) -> None:
    with pytest.raises(ArtifactError, match="neither http nor https"):
        fetch(cache, Release("file:///etc/passwd", "file:///etc/passwd"))


def test_folders_come_from_the_module_where_there_is_no_archive(
    upstream: tuple[Path, str], cache: Path, tmp_path: Path
) -> None:
    folder, url = upstream
    publish_program(folder)
    go = fake_go.install(tmp_path / "home") / "go"
    fake_go.add_module(tmp_path / "home", "example.com/tool", "v1.0.0", {"charts/Chart.yaml": "name: tool"})
    releases = [Release(f"{url}/tool", f"{url}/tool.sha256")]
    modules = [GoRecipe("example.com/tool", "v1.0.0", folders={"chart": "charts"})]
    entry = Entry(cache, "tool", "1.0", release_key(releases, modules))
    assert fetch_entry(entry, releases, modules, Toolchain("1.26.8", go), effort=Effort(0))
    assert sorted(entry.sums()) == ["chart/Chart.yaml", "tool"]


# --- open or closed ---------------------------------------------------------------------------------------------------


def test_a_server_that_answers_is_reachable(upstream: tuple[Path, str]) -> None:
    folder, url = upstream
    (folder / "stable.txt").write_text("v1")
    assert reachable(f"{url}/stable.txt", 5) == ""
    assert reachable(f"{url}/v2/", 5) == ""
    assert reachable(f"{url}/none", 5) == f"{url}/none: HTTP 404"
    assert "Connection refused" in reachable("http://127.0.0.1:9/", 5)


ODD = {
    "/dots": Answer(302, headers={"Location": "http://a..b/"}),
    "/brackets": Answer(302, headers={"Location": "http://[::1/"}),
    "/gzip": Answer(200, b"\x1f\x8bgarbage", {"Content-Encoding": "gzip"}),
    "/garbage": Answer(200, b"garbage", {"Content-Encoding": "gzip"}),
    "/nonsense": Answer(raw=b"220 mail.example.org ESMTP\r\n\r\n"),
}


# urllib leaves connections to the garbage collector where it is surprised.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("path", sorted(ODD))
def test_an_odd_answer_is_said(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By who probes, where there is no body to be odd, and by who downloads."""
    monkeypatch.setattr(artifacts_release, "PAUSE", 0.0)
    runner = cast("Runner", Silent())
    with serving(lambda request: ODD[request.path]) as server:
        url = f"http://127.0.0.1:{server.port}{path}"
        assert path in {"/gzip", "/garbage"} or reachable(url, 5).startswith(f"{url}: ")
        with pytest.raises(ArtifactError, match=path):
            download(Release(url, sum=SUM), tmp_path / "file", runner)
    gc.collect()


def test_a_name_server_that_is_silent_takes_no_longer_than_a_probe_may(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: release.wait(30))
    begin = time.monotonic()
    assert reachable("http://website.example/", 0.5) == "http://website.example/: no answer within 0.5 s"
    assert time.monotonic() - begin < 5
    release.set()


def test_releases_are_taken_where_every_probe_answers(upstream: tuple[Path, str]) -> None:
    folder, url = upstream
    (folder / "stable.txt").write_text("v1")
    assert find_source("auto", [f"{url}/stable.txt", f"{url}/v2/"], 5)["source"] == "release"
    closed = find_source("auto", [f"{url}/stable.txt", "http://127.0.0.1:9/"], 5)
    assert (closed["source"], closed["network"]) == ("build", "closed")
    assert "http://127.0.0.1:9/" in closed["reason"]
    assert find_source("build", ["http://127.0.0.1:9/"], 5)["network"] == "not probed"


def test_the_network_is_probed_once(
    upstream: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, url = upstream
    (folder / "stable.txt").write_text("v1")
    arguments = {"probes": [f"{url}/stable.txt"], "path": str(tmp_path / "state/source.json")}

    def run(**more: Any) -> dict[str, Any]:
        with patch_module_args({**arguments, **more}), pytest.raises(SystemExit):
            artifacts_source.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    assert run(_ansible_check_mode=True)["source"] == "release"
    assert not (tmp_path / "state").exists()
    first = run()
    assert (first["changed"], first["source"]) == (True, "release")
    (folder / "stable.txt").unlink()
    again = run()
    assert (again["changed"], again["source"]) == (False, "release")
    # Who asks for something else gets it.
    assert run(wanted="build")["source"] == "build"


@pytest.mark.parametrize(
    "kept", ["", "no JSON", "[]", '{"source": "build"}', '{"wanted": "release", "source": "release"}']
)
def test_what_is_kept_for_another_wish_is_not_taken(tmp_path: Path, kept: str) -> None:
    (tmp_path / "source.json").write_text(kept)
    assert artifacts_release.kept_source(tmp_path / "source.json", "auto") == {}
    assert artifacts_release.kept_source(tmp_path / "none.json", "auto") == {}


def test_what_is_kept_is_told_without_a_process(tmp_path: Path) -> None:
    path = tmp_path / "source.json"
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        # Whatever would run a module fails.
        "vars": {"ansible_python_interpreter": "/bin/false"},
        "tasks": [{"cicd.sandbox.artifacts_source": {"wanted": "build", "probes": [], "path": str(path)}}],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    line = [tmp_path / "play.yml", "--inventory=localhost,"]
    kept = {"wanted": "build", "source": "build", "network": "not probed", "reason": "it was so"}
    path.write_text(json.dumps(kept))
    (found,) = run_playbook(*line, fails=None).results()
    assert {name: found[name] for name in kept} == kept
    assert not found["changed"]
    path.unlink()
    (asked,) = run_playbook(*line, fails=None).results()
    assert asked["failed"]


def test_releases_that_are_wanted_and_cannot_be_had_are_refused(
    upstream: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, url = upstream
    arguments = {"wanted": "release", "probes": [f"{url}/stable.txt"], "path": str(tmp_path / "state/source.json")}
    refused = run_module("artifacts_source", arguments, capsys)
    assert refused["failed"]
    assert f"artifacts_source is release, but official releases can't be had from here ({url}" in refused["msg"]
    assert "auto or build" in refused["msg"]
    assert not (tmp_path / "state").exists()
    (folder / "stable.txt").write_text("v1")
    assert run_module("artifacts_source", arguments, capsys)["network"] == "open"
    # What stands does not depend on the network being there at each run.
    (folder / "stable.txt").unlink()
    assert not run_module("artifacts_source", arguments, capsys)["changed"]
