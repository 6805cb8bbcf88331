# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What store and registry lack of the cache, and how the registry is filled."""

from __future__ import annotations

import json
import stat
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError, Entry, making
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import ComponentPlan, ImagePlan
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.image import Reference
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.publish import (
    Server,
    compare,
    layouts,
    link_tools,
    push_argv,
    push_images,
    stale_files,
    stale_images,
    store_sums,
    sums_text,
)

SKOPEO = """#!{python}
import json, pathlib, stat, sys
home = pathlib.Path({home!r})
auth = [a for a in sys.argv if a.startswith("--dest-authfile=")][0].partition("=")[2]
mode = stat.S_IMODE(pathlib.Path(auth).stat().st_mode)
with (home / "calls.json").open("a") as stream:
    stream.write(json.dumps([sys.argv[1:], mode, pathlib.Path(auth).read_text()]) + "\\n")
if (home / "fail").exists():
    sys.exit("FATA[0000] unauthorized: authentication required")
"""


class Answers(BaseHTTPRequestHandler):
    """Answers what the test put into `answers`: path → (status, headers, body)."""

    answers: dict[str, tuple[int, dict[str, str], bytes]]
    seen: list[dict[str, str]]

    def answer(self) -> None:
        status, headers, body = self.answers.get(self.path, (404, {}, b""))
        self.seen.append(dict(self.headers))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[tuple[Server, type[Answers]]]:
    handler = type("Handler", (Answers,), {"answers": {}, "seen": []})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield Server(f"http://127.0.0.1:{httpd.server_address[1]}", Path("/dev/null"), "sandbox", "secret word"), handler
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def plan(tmp_path: Path) -> ComponentPlan:
    """A component with two programs, one of them for machines, and one image."""
    entry = Entry(tmp_path / "cache", "tool", "1.0.0", "00000000")
    with making(entry) as partial:
        (partial / "tool").write_text("program")
        (partial / "ctl").write_text("program")
    reference = Reference.parse("registry.k8s.io/tool:v1.0.0")
    layout = Entry(tmp_path / "cache", "image", "v1.0.0", "11111111", kind="images")
    with making(layout) as partial:
        (partial / "index.json").write_text('{"manifests": [{"digest": "sha256:good"}]}')
    image = ImagePlan(reference, layout, reference, own=False)
    return ComponentPlan("tool", "1.0.0", 1, ["tool"], ["ctl"], entry, [image])


FOLDER, SUMS, MANIFEST = "/tool/1.0.0/", "/tool/1.0.0/SHA256SUMS", "/v2/registry.k8s.io/tool/manifests/v1.0.0"


def publish(handler: type[Answers], plan: ComponentPlan, size: int = 7, seconds: int = 0) -> None:
    """Let the store hold the component as it was uploaded, its program of that size and so much younger."""
    text = sums_text(plan).encode()
    files = [("tool", size, seconds), ("SHA256SUMS", len(text), 1)]
    listing = [
        {"name": name, "type": "file", "mtime": f"Sat, 28 Nov 2026 02:50:{second:02d} GMT", "size": length}
        for name, length, second in files
    ]
    for path, body in ((SUMS, text), (FOLDER, json.dumps(listing).encode())):
        handler.answers[path] = (200, {"Content-Length": str(len(body))}, body)


def test_what_the_store_lacks(server: tuple[Server, type[Answers]], plan: ComponentPlan) -> None:
    store, handler = server
    assert stale_files(store, [plan]) == [plan]
    handler.answers[SUMS] = (200, {"Content-Length": "6"}, b"0  tool"[:6])
    assert stale_files(store, [plan]) == [plan]
    publish(handler, plan)
    assert stale_files(store, [plan]) == []
    handler.answers[SUMS] = (500, {}, b"")
    with pytest.raises(ArtifactError, match="answers 500"):
        stale_files(store, [plan])


@pytest.mark.parametrize("damage", [{"size": 6}, {"seconds": 2}])
def test_a_file_that_changed_in_the_store_is_published_anew(
    server: tuple[Server, type[Answers]], plan: ComponentPlan, damage: dict[str, int]
) -> None:
    store, handler = server
    publish(handler, plan, **damage)
    assert stale_files(store, [plan]) == [plan]
    publish(handler, plan)
    assert stale_files(store, [plan]) == []
    for listing in (b"no list", b"[{}]", b"[]"):
        handler.answers[FOLDER] = (200, {"Content-Length": str(len(listing))}, listing)
        assert stale_files(store, [plan]) == [plan]


def test_only_what_machines_install_is_published(plan: ComponentPlan) -> None:
    assert list(store_sums(plan)) == ["tool"]
    plan.files.append("none")
    with pytest.raises(ArtifactError, match="has no none"):
        store_sums(plan)


def test_what_the_registry_lacks(server: tuple[Server, type[Answers]], plan: ComponentPlan) -> None:
    registry, handler = server
    assert stale_images(registry, plan.images) == plan.images
    handler.answers[MANIFEST] = (200, {"Docker-Content-Digest": "sha256:other"}, b"")
    assert stale_images(registry, plan.images) == plan.images
    handler.answers[MANIFEST] = (200, {"Docker-Content-Digest": "sha256:good"}, b"")
    assert stale_images(registry, plan.images) == []
    assert handler.seen[-1]["Authorization"] == "Basic c2FuZGJveDpzZWNyZXQgd29yZA=="
    assert "oci.image.manifest" in handler.seen[-1]["Accept"]
    handler.answers[MANIFEST] = (401, {}, b"")
    with pytest.raises(ArtifactError, match="refuses user 'sandbox'"):
        stale_images(registry, plan.images)


def test_what_is_published_needs_no_second_question(
    server: tuple[Server, type[Answers]], plan: ComponentPlan, tmp_path: Path
) -> None:
    address, handler = server
    tools = tmp_path / "tools"
    assert compare(address, address, [plan]).current([plan], tools) == set()
    publish(handler, plan)
    handler.answers[MANIFEST] = (200, {"Docker-Content-Digest": "sha256:good"}, b"")
    # Its program for the controller is not linked yet.
    assert compare(address, address, [plan]).current([plan], tools) == set()
    link_tools([plan], tools)
    assert compare(address, address, [plan]).current([plan], tools) == {"tool"}


def test_layouts_are_those_of_images_that_are_in_the_cache(plan: ComponentPlan, tmp_path: Path) -> None:
    (image,) = plan.images
    assert layouts([plan]) == {str(image.reference): str(image.entry.directory)}
    missing = ImagePlan(image.reference, Entry(tmp_path / "nowhere", "image", "1", "0"), image.make, own=image.own)
    assert layouts([ComponentPlan("tool", "1", 0, [], [], None, [missing])]) == {}


def test_a_server_that_is_not_there_is_told(plan: ComponentPlan) -> None:
    with pytest.raises(ArtifactError, match="can't be reached"):
        stale_images(Server("http://127.0.0.1:9", Path("/dev/null")), plan.images)


def test_the_password_is_on_no_command_line(plan: ComponentPlan, tmp_path: Path) -> None:
    argv = push_argv(plan.images[0], "198.18.0.2:5000", tmp_path / "auth.json", tmp_path / "certificates")
    assert argv[-1] == "docker://198.18.0.2:5000/registry.k8s.io/tool:v1.0.0"
    assert argv[-2] == f"oci:{plan.images[0].entry.directory}:v1.0.0"
    assert "--preserve-digests" in argv


@pytest.fixture
def skopeo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "skopeo-home"
    home.mkdir()
    path = home / "skopeo"
    path.write_text(SKOPEO.format(python=sys.executable, home=str(home)))
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    return home


def test_images_are_pushed_with_a_file_only_we_can_read(skopeo: Path, plan: ComponentPlan, tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text("certificate")
    registry = Server("https://198.18.0.2:5000", ca, "sandbox", "secret word")
    (pushed,) = push_images(registry, plan.images)
    assert pushed.startswith("registry.k8s.io/tool:v1.0.0 (")
    arguments, mode, auth = json.loads((skopeo / "calls.json").read_text())
    assert mode == 0o600
    assert json.loads(auth) == {"auths": {"198.18.0.2:5000": {"auth": "c2FuZGJveDpzZWNyZXQgd29yZA=="}}}
    assert not any("secret" in argument or "c2Fu" in argument for argument in arguments)
    authfile = next(a for a in arguments if a.startswith("--dest-authfile=")).partition("=")[2]
    assert not Path(authfile).exists()


def test_skopeos_own_words_are_told(skopeo: Path, plan: ComponentPlan, tmp_path: Path) -> None:
    (skopeo / "fail").touch()
    (tmp_path / "ca.crt").touch()
    with pytest.raises(ArtifactError, match=r"pushing registry.*\nFATA.* authentication required"):
        push_images(Server("https://198.18.0.2:5000", tmp_path / "ca.crt", "sandbox", "x"), plan.images)


def test_a_damaged_image_is_not_pushed(skopeo: Path, plan: ComponentPlan, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").touch()
    (plan.images[0].entry.directory / "index.json").write_text("{}")
    with pytest.raises(ArtifactError, match="is damaged"):
        push_images(Server("https://198.18.0.2:5000", tmp_path / "ca.crt", "sandbox", "x"), plan.images)
    assert not (skopeo / "calls.json").exists()


def test_the_controllers_programs_are_linked(plan: ComponentPlan, tmp_path: Path) -> None:
    assert link_tools([plan], tmp_path / "bin", dry_run=True) == ["ctl"]
    assert not (tmp_path / "bin").exists()
    assert link_tools([plan], tmp_path / "bin") == ["ctl"]
    assert (tmp_path / "bin/ctl").read_text() == "program"
    assert link_tools([plan], tmp_path / "bin") == []
    (tmp_path / "bin/ctl").unlink()
    (tmp_path / "bin/ctl").write_text("an older copy")
    assert link_tools([plan], tmp_path / "bin") == ["ctl"]
    assert (tmp_path / "bin/ctl").is_symlink()
