# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files from the artifact store, verified and put in their place in one step."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.store import Store, StoreError, WantedFile, install
from ansible_collections.cicd.sandbox.plugins.modules import store_files
from local_server import Answer, Received, serving

OWNER = {"owner": str(os.getuid()), "group": str(os.getgid())}


class Quiet(SimpleHTTPRequestHandler):
    """A file server that says nothing."""

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A component's folder in a store, and the store's address."""
    folder = tmp_path / "store/etcd/3.7.3"
    folder.mkdir(parents=True)
    for name in ("etcd", "etcdctl"):
        (folder / name).write_text(f"program {name}")
    state_sums(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "store")))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def state_sums(folder: Path) -> None:
    names = [path.name for path in folder.iterdir() if path.name != "SHA256SUMS"]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(names)]
    (folder / "SHA256SUMS").write_text("".join(lines))


def wanted(dest: Path, *names: str, **values: str) -> list[WantedFile]:
    return [WantedFile.read({"name": name, "dest": f"{dest}/", **OWNER, **values}) for name in names]


def test_files_are_installed_once(served: tuple[Path, str], tmp_path: Path) -> None:
    _, url = served
    store = Store(url, "etcd", "3.7.3")
    files = wanted(tmp_path / "bin", "etcd", "etcdctl")
    assert install(store, files, dry_run=True) == [str(file.dest) for file in files]
    assert not (tmp_path / "bin").exists()
    assert install(store, files) == [str(file.dest) for file in files]
    assert (tmp_path / "bin/etcd").read_text() == "program etcd"
    assert (tmp_path / "bin/etcd").stat().st_mode & 0o7777 == 0o755
    assert install(store, files) == []
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == ["etcd", "etcdctl"]


def test_what_differs_is_installed_again(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    store = Store(url, "etcd", "3.7.3")
    files = wanted(tmp_path / "bin", "etcd", "etcdctl")
    install(store, files)
    (tmp_path / "bin/etcd").write_text("spoilt")
    assert install(store, files) == [str(tmp_path / "bin/etcd")]
    (folder / "etcdctl").write_text("newer")
    state_sums(folder)
    assert install(store, files) == [str(tmp_path / "bin/etcdctl")]
    (tmp_path / "bin/etcd").chmod(0o700)
    assert install(store, files, dry_run=True) == [str(tmp_path / "bin/etcd")]
    assert (tmp_path / "bin/etcd").stat().st_mode & 0o7777 == 0o700
    assert install(store, files) == [str(tmp_path / "bin/etcd")]
    assert (tmp_path / "bin/etcd").stat().st_mode & 0o7777 == 0o755


def test_another_content_than_the_store_states_is_refused(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    store = Store(url, "etcd", "3.7.3")
    install(store, wanted(tmp_path / "bin", "etcd"))
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  etcd\n")
    with pytest.raises(StoreError, match="SHA256SUMS says 0000"):
        install(store, wanted(tmp_path / "bin", "etcd"))
    assert (tmp_path / "bin/etcd").read_text() == "program etcd"
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["etcd"]


def test_what_the_store_lacks_is_told(served: tuple[Path, str], tmp_path: Path) -> None:
    _, url = served
    with pytest.raises(StoreError, match="has no helm there, it has etcd, etcdctl"):
        install(Store(url, "etcd", "3.7.3"), wanted(tmp_path, "helm"))
    with pytest.raises(StoreError, match="HTTP 404: it was not published"):
        install(Store(url, "etcd", "3.7.4"), wanted(tmp_path, "etcd"))
    with pytest.raises(StoreError, match="Connection refused"):
        install(Store("http://127.0.0.1:9", "etcd", "3.7.3"), wanted(tmp_path, "etcd"))


# urllib leaves connections to the garbage collector where it is surprised.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "answer",
    [
        Answer(302, headers={"Location": "http://a..b/"}),
        Answer(200, b"\x1f\x8bgarbage", {"Content-Encoding": "gzip"}),
        Answer(200, b"\xff\xfe"),
        Answer(200, b"short", {"Content-Length": "99"}),
    ],
    ids=["redirect", "gzip", "bytes", "short"],
)
@pytest.mark.parametrize("odd", ["SHA256SUMS", "etcd"])
def test_an_odd_answer_is_said(answer: Answer, odd: str, tmp_path: Path) -> None:
    def answers(request: Received) -> Answer:
        return answer if request.path.endswith(f"/{odd}") else Answer(200, f"{'a' * 64}  etcd\n".encode())

    with serving(answers) as server:
        store = Store(f"http://127.0.0.1:{server.port}", "etcd", "3.7.3")
        with pytest.raises(StoreError, match=odd):
            install(store, wanted(tmp_path, "etcd"))
    assert not (tmp_path / "etcd").exists()
    gc.collect()


def test_the_store_is_reached_by_https_only() -> None:
    with pytest.raises(StoreError, match="not an https address"):
        Store("http://store.example", "etcd", "3.7.3")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dest": "bin/etcd"}, "not an absolute path"),
        ({"dest": "/bin/etcd", "mode": "u+x"}, "not octal"),
    ],
)
def test_what_can_not_be_meant_is_refused(values: dict[str, str], said: str) -> None:
    with pytest.raises(StoreError, match=said):
        WantedFile.read({"name": "etcd", **values})


def test_an_unknown_owner_is_told() -> None:
    with pytest.raises(StoreError, match="nobody-of-that-name"):
        WantedFile.read({"name": "etcd", "dest": "/bin/etcd", "owner": "nobody-of-that-name"}).ids()


def test_the_module(served: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, url = served
    other = folder.parents[1] / "helm/3.22.0"
    other.mkdir(parents=True)
    (other / "helm").write_text("program helm")
    state_sums(other)
    dest = str(tmp_path / "bin") + "/"

    def run(etcd_version: str = "3.7.3", **more: Any) -> dict[str, Any]:
        components = [
            {"name": name, "version": version, "files": [{"name": name, "dest": dest, "mode": "0750", **OWNER}]}
            for name, version in (("helm", "3.22.0"), ("etcd", etcd_version))
        ]
        with (
            patch_module_args({"store_url": url, "components": components, **more}),
            pytest.raises(SystemExit),
        ):
            store_files.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    assert run(_ansible_check_mode=True)["changed"] is True
    (tmp_path / "bin").mkdir()
    assert run()["installed"] == [str(tmp_path / "bin/helm"), str(tmp_path / "bin/etcd")]
    assert run()["changed"] is False
    failed = run(etcd_version="0")
    assert failed["failed"] is True
    assert "not published" in failed["msg"]
