# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kubeconfig gets a context and loses it again; nobody else notices."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.kubeconfig.merging import KubeconfigError, data
from modules import run_module

FIXTURES = Path(__file__).parent / "fixtures/kubeconfig"
SOMEBODYS = (FIXTURES / "somebodys.yaml").read_text(encoding="utf-8")
# Anchors get names of PyYAML's.
UNTOUCHED = SOMEBODYS.replace("&team", "&id001").replace("*team", "*id001")
MARK = {"name": "cicd.sandbox", "extension": {"managed-by": "dev"}}

PEM = "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n"
TOKEN = "a-very-secret-token"
DEV: dict[str, Any] = {
    "cluster": {"name": "dev", "server": "https://198.18.0.2:6443", "certificate_authority_data": PEM},
    "user": {"name": "dev-admin", "token": TOKEN},
    "context": {"name": "dev-admin@dev"},
    "managed_by": "dev",
}
EXEC_SOURCE = """
clusters: [{name: c, cluster: {server: https://x}}]
users:
- {name: relative, user: {tokenFile: ../token, exec: {command: ./bin/login}}}
- {name: named, user: {exec: {command: login}}}
- {name: absolute, user: {exec: {command: /usr/../bin/login}}}
contexts:
- {name: relative, context: {cluster: c, user: relative}}
- {name: named, context: {cluster: c, user: named}}
- {name: absolute, context: {cluster: c, user: absolute}}
"""
ABSENT: dict[str, Any] = {"state": "absent", "context": {"name": "dev-admin@dev"}, "managed_by": "dev"}


class Module:
    """The module on one file."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys

    def __call__(self, arguments: dict[str, Any], *, check: bool = False, **changes: Any) -> dict[str, Any]:
        return run_module("kubeconfig", {"path": str(self.path)} | arguments | changes, self._capsys, check=check)

    def read(self) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load(self.path.read_text(encoding="utf-8"))
        return content

    def named(self, kind: str, name: str) -> dict[str, Any]:
        (found,) = [entry[kind] for entry in self.read()[f"{kind}s"] if entry["name"] == name]
        return dict(found)


@pytest.fixture
def module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Module:
    """A home without a .kube."""
    return Module(tmp_path / "home/.kube/config", capsys)


@pytest.fixture
def theirs(module: Module) -> Module:
    """A home with somebody's kubeconfig."""
    module.path.parent.mkdir(parents=True)
    module.path.write_text(SOMEBODYS, encoding="utf-8")
    return module


class TestNewFile:
    def test_is_made_for_its_user_alone(self, module: Module) -> None:
        result = module(DEV)
        assert result["changed"]
        assert result["entries"] == dict.fromkeys(("cluster", "user", "context"), "created")
        assert result["current_context"] == "dev-admin@dev"
        assert stat.S_IMODE(module.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(module.path.parent.stat().st_mode) == 0o700
        assert module.named("cluster", "dev") == {
            "server": "https://198.18.0.2:6443",
            "certificate-authority-data": base64.b64encode(PEM.encode()).decode(),
            "extensions": [MARK],
        }
        assert module.named("user", "dev-admin") == {"token": TOKEN, "extensions": [MARK]}

    def test_second_run_changes_nothing(self, module: Module) -> None:
        module(DEV)
        before = module.path.stat()
        assert not module(DEV)["changed"]
        after = module.path.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    def test_check_mode_writes_nothing(self, module: Module) -> None:
        result = module(DEV, check=True)
        assert result["changed"]
        assert result["diff"]["before"] == ""
        assert not module.path.parent.parent.exists()

    def test_goes_again_with_its_directory(self, module: Module) -> None:
        module(DEV)
        result = module(ABSENT)
        assert result["entries"] == dict.fromkeys(("cluster", "user", "context"), "removed")
        assert not module.path.parent.exists()
        assert not module(ABSENT)["changed"]

    def test_stays_while_somebody_uses_it(self, module: Module) -> None:
        module(DEV)
        other = {"cluster": {"name": "b", "server": "https://b"}, "user": {"name": "b", "token": "t0ken"}}
        module(other | {"context": {"name": "b"}, "managed_by": "b"})
        module(ABSENT)
        assert [context["name"] for context in module.read()["contexts"]] == ["b"]
        module({"state": "absent", "context": {"name": "b"}, "managed_by": "b"})
        assert not module.path.parent.exists()

    def test_stays_with_what_somebody_added(self, module: Module) -> None:
        module(DEV)
        content = module.read()
        content["users"].append({"name": "bob", "user": {"token": "his"}})
        module.path.write_text(yaml.safe_dump(content), encoding="utf-8")
        module(ABSENT)
        assert module.read()["users"] == [{"name": "bob", "user": {"token": "his"}}]
        assert "cicd.sandbox" not in module.path.read_text(encoding="utf-8")

    def test_an_empty_one_stays(self, module: Module) -> None:
        module.path.parent.mkdir(parents=True)
        module.path.touch(mode=0o640)
        module(DEV)
        module(ABSENT)
        frame = {"apiVersion": "v1", "kind": "Config", "current-context": ""}
        assert module.read() == frame | {"clusters": [], "users": [], "contexts": []}


class TestSomebodysFile:
    def test_keeps_everything_of_others(self, theirs: Module) -> None:
        theirs(DEV)
        written = theirs.path.read_text(encoding="utf-8")
        ours = [line for line in written.splitlines() if line not in UNTOUCHED.splitlines()]
        assert [line for line in UNTOUCHED.splitlines() if line not in written.splitlines()] == []
        assert all(line.startswith((" ", "-")) for line in ours)
        assert theirs.read()["current-context"] == "work"

    def test_is_theirs_again_when_ours_is_gone(self, theirs: Module) -> None:
        theirs(DEV)
        theirs(ABSENT)
        assert theirs.path.read_text(encoding="utf-8") == UNTOUCHED

    def test_current_context_goes_back(self, theirs: Module) -> None:
        assert theirs(DEV, set_current="always")["current_context"] == "dev-admin@dev"
        assert not theirs(DEV, set_current="always")["changed"]
        assert theirs(ABSENT)["current_context"] == "work"
        assert theirs.path.read_text(encoding="utf-8") == UNTOUCHED

    def test_current_context_is_unset_when_the_one_before_is_gone(self, theirs: Module) -> None:
        theirs(DEV, set_current="always")
        theirs({"state": "absent", "context": {"name": "work"}, "force": True})
        assert theirs(ABSENT)["current_context"] == ""

    @pytest.mark.parametrize(("set_current", "expected"), [("if_unset", "dev-admin@dev"), ("never", "")])
    def test_set_current_where_none_is(self, module: Module, set_current: str, expected: str) -> None:
        assert module(DEV, set_current=set_current)["current_context"] == expected

    def test_is_its_users_alone_once_it_holds_ours(self, theirs: Module) -> None:
        theirs.path.chmod(0o644)
        result = theirs(DEV, check=True)
        assert result["diff"]["before"].startswith("# mode: 0644\n")
        assert result["diff"]["after"].startswith("# mode: 0600\n")
        assert stat.S_IMODE(theirs.path.stat().st_mode) == 0o644
        result = theirs(DEV, backup=True)
        assert stat.S_IMODE(theirs.path.stat().st_mode) == 0o600
        # It may hold a key of an earlier run.
        assert stat.S_IMODE(Path(result["backup_file"]).stat().st_mode) == 0o600
        assert not theirs(DEV)["changed"]

    def test_that_others_may_read_is_mended_though_nothing_else_changes(self, theirs: Module) -> None:
        theirs(DEV)
        content = f"# Somebody's words.\n{theirs.path.read_text(encoding='utf-8')}"
        theirs.path.write_text(content, encoding="utf-8")
        theirs.path.chmod(0o644)
        checked = theirs(DEV, check=True)
        assert checked["changed"]
        assert checked["diff"]["before"] == checked["diff"]["after"].replace("mode: 0600", "mode: 0644")
        assert stat.S_IMODE(theirs.path.stat().st_mode) == 0o644
        assert theirs(DEV)["changed"]
        assert stat.S_IMODE(theirs.path.stat().st_mode) == 0o600
        assert theirs.path.read_text(encoding="utf-8") == content
        assert not theirs(DEV)["changed"]

    def test_keeps_a_mode_that_is_narrower(self, theirs: Module) -> None:
        theirs.path.chmod(0o400)
        theirs(DEV)
        assert stat.S_IMODE(theirs.path.stat().st_mode) == 0o400
        assert not theirs(DEV)["changed"]

    def test_keeps_its_mode_when_ours_goes(self, theirs: Module) -> None:
        theirs(DEV)
        theirs.path.chmod(0o640)
        theirs(ABSENT)
        assert stat.S_IMODE(theirs.path.stat().st_mode) == 0o640

    @pytest.mark.parametrize("linked", ["home/.kube", "home"])
    def test_directory_that_is_a_link_stays_one(self, theirs: Module, tmp_path: Path, linked: str) -> None:
        """Path and target have the same lock then."""
        link, real = tmp_path / linked, tmp_path / "elsewhere"
        link.rename(real)
        link.symlink_to(real)
        assert theirs(DEV, lock_timeout=0)["changed"]
        assert not theirs(DEV, lock_timeout=0)["changed"]
        assert theirs(ABSENT, lock_timeout=0)["changed"]
        assert link.is_symlink()
        assert theirs.path.read_text(encoding="utf-8") == UNTOUCHED
        assert [path.name for path in theirs.path.parent.iterdir()] == ["config"]

    def test_link_that_leads_to_nothing_yet_stays_one(self, module: Module, tmp_path: Path) -> None:
        module.path.parent.mkdir(parents=True)
        module.path.symlink_to(tmp_path / "new/config")
        module(DEV)
        assert (tmp_path / "new/config").is_file()
        module(ABSENT)
        assert module.path.is_symlink()
        assert not (tmp_path / "new").exists()

    def test_link_is_followed(self, theirs: Module) -> None:
        target = theirs.path.with_name("real")
        theirs.path.rename(target)
        theirs.path.symlink_to("real")
        theirs(DEV)
        assert theirs.path.is_symlink()
        assert "dev-admin" in target.read_text(encoding="utf-8")

    def test_backup(self, theirs: Module) -> None:
        backup = theirs(DEV, backup=True)["backup_file"]
        assert Path(backup).read_text(encoding="utf-8") == SOMEBODYS
        assert "backup_file" not in theirs(DEV, backup=True)

    def test_diff_shows_no_secret(self, theirs: Module) -> None:
        result = theirs(DEV, check=True)
        assert theirs.path.read_text(encoding="utf-8") == SOMEBODYS
        diff = result["diff"]["before"] + result["diff"]["after"]
        assert [secret for secret in ("hunter2", "s3cr3t", "0123456789e12", TOKEN, "LS0t") if secret in diff] == []
        assert 'server: "https://<hidden>@work.example.org:6443"' in result["diff"]["before"]
        assert "name: dev-admin@dev" in result["diff"]["after"]

    def test_diff_shows_that_a_secret_changed(self, theirs: Module) -> None:
        theirs(DEV)
        diff = theirs(DEV, user={"name": "dev-admin", "token": "another-token"}, check=True)["diff"]
        assert 'token: "<hidden>"' in diff["before"]
        assert 'token: "<hidden, changed>"' in diff["after"]


class TestOwnEntries:
    def test_are_exactly_what_is_asked_for(self, module: Module) -> None:
        module(DEV)
        result = module(DEV, cluster={"name": "dev", "server": "https://other:6443", "tls_server_name": "cp-1"})
        assert result["entries"] == {"cluster": "updated", "user": "unchanged", "context": "unchanged"}
        assert module.named("cluster", "dev") == {
            "server": "https://other:6443",
            "tls-server-name": "cp-1",
            "extensions": [MARK],
        }

    def test_keep_what_their_user_added(self, module: Module) -> None:
        module(DEV)
        content = module.read()
        content["contexts"][0]["context"]["namespace"] = "apps"
        content["clusters"][0]["cluster"]["proxy-url"] = "http://proxy"
        module.path.write_text(yaml.safe_dump(content), encoding="utf-8")
        assert not module(DEV)["changed"]
        module(DEV, cluster={"name": "dev", "server": "https://other"})
        assert module.named("cluster", "dev")["proxy-url"] == "http://proxy"
        assert module.named("context", "dev-admin@dev")["namespace"] == "apps"

    def test_cluster_and_user_stay_while_another_context_needs_them(self, module: Module) -> None:
        module(DEV)
        viewer = {"user": {"name": "viewer", "token": "view"}, "context": {"name": "viewer@dev", "namespace": "apps"}}
        result = module({"cluster": {"name": "dev"}, "managed_by": "dev", **viewer})
        assert result["entries"]["cluster"] == "unchanged"
        assert module(ABSENT)["entries"] == {
            "context": "removed",
            "cluster": "kept: context 'viewer@dev' refers to it",
            "user": "removed",
        }


class TestForeignEntries:
    @pytest.fixture
    def foreign(self, theirs: Module) -> dict[str, Any]:
        """Arguments that clash with somebody's cluster."""
        return DEV | {"cluster": {"name": "work", "server": "https://198.18.0.2:6443"}}

    def test_are_not_overwritten(self, theirs: Module, foreign: dict[str, Any]) -> None:
        result = theirs(foreign)
        assert result["msg"].startswith("cluster 'work' was made by somebody else and leads elsewhere; nothing was")
        assert theirs.path.read_text(encoding="utf-8") == SOMEBODYS

    def test_are_taken_over_by_force(self, theirs: Module, foreign: dict[str, Any]) -> None:
        assert theirs(foreign, force=True)["entries"]["cluster"] == "updated"

    def test_of_another_sandbox_are_not_overwritten(self, module: Module) -> None:
        module(DEV)
        result = module(DEV, managed_by="prod")
        assert "is managed by 'dev'" in result["msg"]

    def test_that_lead_to_the_same_place_are_taken_over(self, module: Module) -> None:
        module(DEV)
        content = module.read()
        for kind in ("cluster", "user", "context"):
            del content[f"{kind}s"][0][kind]["extensions"]
        module.path.write_text(yaml.safe_dump(content), encoding="utf-8")
        assert module(ABSENT)["entries"]["context"] == "kept: made by somebody else"
        assert module(DEV)["entries"]["cluster"] == "updated"
        assert module.named("cluster", "dev")["extensions"] == [MARK]


class TestSource:
    SOURCE: ClassVar[dict[str, Any]] = {
        "source": str(FIXTURES / "admin.conf"),
        "cluster": {"name": "dev", "server": "https://198.18.0.2:6443"},
        "user": {"name": "dev-admin"},
        "context": {"name": "dev-admin@dev"},
        "managed_by": "dev",
    }

    def test_is_renamed(self, module: Module) -> None:
        module(self.SOURCE)
        assert module.named("context", "dev-admin@dev") == {"cluster": "dev", "user": "dev-admin", "extensions": [MARK]}
        assert module.named("cluster", "dev")["server"] == "https://198.18.0.2:6443"
        assert module.named("user", "dev-admin")["client-key-data"] == "LS0tLS1CRUdJTiBLRVktLS0tLQprZXkK"
        assert not module(self.SOURCE)["changed"]

    def test_keeps_its_names(self, module: Module) -> None:
        module({"content": (FIXTURES / "admin.conf").read_text(encoding="utf-8")})
        assert module.read()["current-context"] == "kubernetes-admin@kubernetes"

    def test_files_are_embedded(self, module: Module, tmp_path: Path) -> None:
        text = (FIXTURES / "admin.conf").read_text(encoding="utf-8")
        source = tmp_path / "source"
        embedded = "certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmNhCg=="
        source.write_text(text.replace(embedded, "certificate-authority: ca.crt"), encoding="utf-8")
        failed = module(self.SOURCE, source=str(source))
        assert f"cluster certificate-authority: {tmp_path}/ca.crt: No such file" in failed["msg"]
        (tmp_path / "ca.crt").write_text(PEM, encoding="utf-8")
        module(self.SOURCE, source=str(source))
        written = module.named("cluster", "dev")
        assert base64.b64decode(written["certificate-authority-data"]).decode() == PEM
        assert "certificate-authority" not in written

    def test_relative_paths_start_at_its_directory(self, module: Module, tmp_path: Path) -> None:
        """As in kubectl: that of a link, not of what it leads to; a program that PATH leads to keeps its name."""
        (tmp_path / "real").mkdir()
        (tmp_path / "real/config").write_text(EXEC_SOURCE, encoding="utf-8")
        (tmp_path / "home").mkdir()
        (tmp_path / "home/config").symlink_to("../real/config")

        def given(user: str, context: str) -> dict[str, Any]:
            module(
                {
                    "source": str(tmp_path / "home/config"),
                    "source_context": context,
                    "user": {"name": user},
                    "context": {"name": user},
                }
            )
            return module.named("user", user)

        assert given("one", "relative")["tokenFile"] == f"{tmp_path}/token"
        assert given("one", "relative")["exec"]["command"] == f"{tmp_path}/home/bin/login"
        assert given("two", "named")["exec"]["command"] == "login"
        assert given("three", "absolute")["exec"]["command"] == "/usr/../bin/login"
        failed = module({"content": EXEC_SOURCE, "source_context": "relative"})
        assert "user field tokenFile is a relative path, which only a file can have" in failed["msg"]

    def test_file_that_would_hang_is_not_opened(self, module: Module, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "ca.crt")
        source = tmp_path / "source"
        source.write_text(EXEC_SOURCE.replace("server: https://x", "certificate-authority: ca.crt"), encoding="utf-8")
        words = f"cluster certificate-authority: {tmp_path}/ca.crt: Is a named pipe, not a file"
        assert words in module({"source": str(source), "source_context": "named"})["msg"]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"source": "/nowhere"}, "source: /nowhere: no such file"),
            ({"source_context": "x"}, "has no context 'x'; its contexts: kubernetes-admin@kubernetes"),
            ({"content": "a: b"}, "parameters are mutually exclusive: source|content"),
        ],
    )
    def test_what_is_wrong_with_it_is_said(self, module: Module, changes: dict[str, Any], words: str) -> None:
        assert words in module(self.SOURCE | changes)["msg"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("a: [", "line 1, column 5: is not valid YAML"),
            ("a: b\n", "is not a kubeconfig, nothing was changed: it has none of the keys"),
            ("- a\n", "its top level is not a mapping"),
            ("just words\n", "its top level is not a mapping"),
            ("apiVersion: v1\nkind: Pod\n", "its kind is not Config"),
            ("apiVersion: v1\nclusters: {a: b}\n", "line 2: clusters is not a list"),
            # Two files, put together with cat: kubectl shows b.
            (
                "users:\n- {name: a, user: {}}\nkind: Config\nusers:\n- {name: b, user: {}}\n",
                "line 4: the key users is there already, in line 1, and kubectl takes the last",
            ),
            ('{"users": [], "users": []}', "line 1: the key users is there already"),
            ("users:\n- name: a\n  name: b\n", "line 3: the key name is there already, in line 2"),
            (
                "contexts:\n- name: a\n  context:\n    user: a\n    user: b\n",
                "line 5: the key user is there already, in line 4",
            ),
            (
                "users:\n- {name: a, user: {token: x}}\n- {name: a, user: {token: y}}\n",
                "line 3: there is a user 'a' already, in line 2",
            ),
            ("kind: Config\n---\nkind: Config\n", "it holds 2 YAML documents, of which kubectl reads the first"),
            ("users:\n- name: a\n\tuser: {}\n", "line 3, column 1: is not valid YAML"),
            ("kind: Config\nx: &a [*b]\n", "line 2, column 8: is not valid YAML"),
            ("kind: Config\nusers:\n- user: {}\n", "line 3: users[0] has no name"),
            ("kind: Config\n---\nkind: Config\n", "it holds 2 YAML documents"),
        ],
    )
    def test_other_files_are_left_alone(self, theirs: Module, content: str, words: str) -> None:
        theirs.path.write_text(content, encoding="utf-8")
        for arguments in (DEV, ABSENT | {"force": True}):
            result = theirs(arguments)
            assert str(theirs.path) in result["msg"]
            assert words in result["msg"]
        # Without a mark there is nothing to take out of it.
        assert theirs(ABSENT)["entries"] == dict.fromkeys(("cluster", "user", "context"), "absent")
        assert theirs.path.read_text(encoding="utf-8") == content
        theirs.path.write_text(f"{content}# cicd.sandbox", encoding="utf-8")
        assert str(theirs.path) in theirs(ABSENT)["msg"]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"cluster": None}, "missing: cluster.name"),
            ({"context": {}, "user": {}}, "missing: user.name, context.name"),
            ({"cluster": {"name": "dev"}}, "cluster 'dev' is not in the file"),
            ({"cluster": {"name": "dev", "tls_server_name": "x"}}, "missing: cluster.server"),
            (
                {"cluster": {"name": "d", "server": "s", "certificate_authority_data": "%%"}},
                "cluster.certificate_authority_data: is neither PEM",
            ),
            ({"user": {"name": "a", "client_key_data": PEM}}, "are only of use together"),
            ({"state": "absent", "context": None}, "missing: context.name"),
            ({"state": "absent", "content": "x"}, "of use with state=present only"),
        ],
    )
    def test_arguments_are_named(self, module: Module, changes: dict[str, Any], words: str) -> None:
        assert words in module(DEV | changes)["msg"]
        assert not module.path.exists()

    @pytest.mark.parametrize("what", ["directory", "named pipe", "socket", "device"])
    def test_what_is_no_file_is_neither_opened_nor_replaced(self, module: Module, what: str) -> None:
        module.path.parent.mkdir(parents=True)
        if what == "directory":
            module.path.mkdir()
        elif what == "named pipe":
            os.mkfifo(module.path)
        elif what == "device":
            module.path.symlink_to("/dev/zero")
        else:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(module.path))
        kind = module.path.stat().st_mode
        for arguments in (DEV, ABSENT | {"force": True}):
            for check in (False, True):
                assert (
                    module(arguments, check=check)["msg"]
                    == f"{module.path}: Is a {what}, not a file; nothing was changed"
                )
        assert not module(ABSENT)["changed"]
        assert module.path.stat().st_mode == kind
        assert [path.name for path in module.path.parent.iterdir()] == ["config"]

    def test_what_could_not_be_written_is_said_in_check_mode_too(self, module: Module, tmp_path: Path) -> None:
        (tmp_path / "home").write_text("a file", encoding="utf-8")
        result = module(DEV, check=True)
        assert result["msg"] == f"{module.path}: {tmp_path}/home is no directory; nothing was changed"
        assert "nothing was changed" in module(DEV)["msg"]

    def test_a_lock_is_said_in_check_mode_too(self, theirs: Module) -> None:
        lock = theirs.path.with_name("config.lock")
        lock.touch()
        assert f"the lock {lock}" in theirs(DEV, check=True, lock_timeout=0)["msg"]
        lock.unlink()
        theirs(DEV)
        lock.touch()
        assert not theirs(DEV, check=True, lock_timeout=0)["changed"]

    def test_a_lock_is_named(self, theirs: Module) -> None:
        lock = theirs.path.with_name("config.lock")
        lock.touch()
        result = theirs(DEV, lock_timeout=0.1)
        words = rf"the lock {re.escape(str(lock))}, \d+ s old, was still held after 0\.1 s; nothing was changed"
        assert re.search(words, result["msg"])
        assert theirs.path.read_text(encoding="utf-8") == SOMEBODYS
        lock.unlink()
        assert theirs(DEV)["changed"]
        assert not lock.exists()


def test_data_of_something_else_is_refused() -> None:
    with pytest.raises(KubeconfigError, match=r"^cluster\.ca: is base64, but not of PEM$"):
        data("aGVsbG8=", "cluster.ca")


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffkind: Config\nusers:\n- {name: bob, user: {token: his}}\n",
        "kind: Config\r\nusers:\r\n- {name: bob, user: {token: his}}\r\n",
        '{"kind": "Config", "users": [{"name": "bob", "user": {"token": "his"}}]}',
        "x: &b {token: his}\nusers:\n- name: bob\n  user:\n    <<: *b\n",
        "users: &u\n- {name: bob, user: {token: his}}\nx: *u\n",
        "kind: Config\nusers:\n- {name: bob, user: {token: his}}\n...\n",
    ],
    ids=["BOM", "CRLF", "JSON", "merge key", "anchor of a list", "end of a document"],
)
def test_other_ways_to_write_yaml_are_kept(module: Module, content: str) -> None:
    module.path.parent.mkdir(parents=True)
    module.path.write_bytes(content.encode())
    module(DEV)
    assert module.named("user", "bob") == {"token": "his"}
    assert module.named("user", "dev-admin")["token"] == TOKEN
    module(ABSENT)
    assert module.read()["users"] == [{"name": "bob", "user": {"token": "his"}}]
    assert not module(ABSENT)["changed"]


class TestSeveralFiles:
    """What KUBECONFIG names."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[str]:
        return [str(tmp_path / name) for name in ("one", "two", "three")]

    @staticmethod
    def run(files: list[str], capsys: pytest.CaptureFixture[str], **changes: Any) -> dict[str, Any]:
        return run_module("kubeconfig", DEV | {"paths": files} | changes, capsys)

    def test_the_first_that_exists_is_written(self, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        Path(files[1]).touch()
        Path(files[2]).touch()
        assert self.run(files, capsys)["path"] == files[1]
        assert not Path(files[0]).exists()

    def test_or_else_the_last(self, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert self.run([files[0], "", files[1], "", files[0]], capsys)["path"] == files[1]

    def test_the_one_with_ours_stays_the_one(self, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        self.run(files, capsys)
        Path(files[0]).write_text("kind: Config\n", encoding="utf-8")
        again = self.run(files, capsys)
        assert (again["path"], again["changed"]) == (files[2], False)

    def test_where_it_went_is_remembered_before_it_goes_there(
        self, tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        places = tmp_path / "state/places.json"
        self.run(files[:1], capsys, places=str(places))
        Path(f"{files[1]}.lock").touch()
        assert "the lock" in self.run(files[1:2], capsys, places=str(places), lock_timeout=0)["msg"]
        assert json.loads(places.read_text(encoding="utf-8")) == files[:2]
        assert stat.S_IMODE(places.stat().st_mode) == 0o600
        assert not self.run(files[:1], capsys, places=str(places))["changed"]
        places.unlink()
        assert self.run(files[:1], capsys, places=str(places))["changed"]

    def test_nothing_named_is_the_default(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        assert self.run(["", ""], capsys)["path"] == str(tmp_path / ".kube/config")

    def test_nothing_is_expanded(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert self.run(["~/$X, 'ü/config"], capsys)["path"] == str(tmp_path / "~/$X, 'ü/config")
        assert (tmp_path / "~/$X, 'ü/config").is_file()

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_name_of_somebodys_in_another_one_is_refused(
        self, files: list[str], capsys: pytest.CaptureFixture[str], order: int
    ) -> None:
        Path(files[0]).write_text("kind: Config\n", encoding="utf-8")
        other = "contexts: [{name: dev-admin@dev, context: {cluster: work, user: me}}]\n"
        Path(files[1]).write_text(other, encoding="utf-8")
        words = f"context 'dev-admin@dev' of {files[1]} was made by somebody else and leads elsewhere; nothing was"
        if order == 1:
            assert words in self.run(files, capsys)["msg"]
            assert Path(files[0]).read_text(encoding="utf-8") == "kind: Config\n"
            assert self.run(files, capsys, force=True)["changed"]
        else:
            assert "context 'dev-admin@dev' was made by" in self.run(files[1::-1], capsys)["msg"]
        assert Path(files[1]).read_text(encoding="utf-8") == other

    def test_a_current_context_of_another_one_is_kept(
        self, files: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path(files[0]).write_text("kind: Config\n", encoding="utf-8")
        Path(files[1]).write_text("current-context: work\n", encoding="utf-8")
        assert self.run(files, capsys)["current_context"] == ""
        assert self.run(files[:1], capsys)["current_context"] == "dev-admin@dev"

    def test_one_that_is_no_kubeconfig_is_named(self, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        Path(files[0]).touch()
        Path(files[1]).write_text("- a\n", encoding="utf-8")
        assert f"{files[1]}: is not a kubeconfig, nothing was changed" in self.run(files, capsys)["msg"]
        assert Path(files[0]).read_bytes() == b""


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kubectl_reads_it_and_keeps_the_marks(module: Module) -> None:
    module(DEV)
    kubectl = ["kubectl", f"--kubeconfig={module.path}", "config"]
    shown = subprocess.run([*kubectl, "get-contexts", "-o", "name"], capture_output=True, text=True, check=True)
    assert shown.stdout == "dev-admin@dev\n"
    subprocess.run([*kubectl, "set-context", "--current", "--namespace=apps"], capture_output=True, check=True)
    assert not module(DEV)["changed"]
    module(ABSENT)
    assert not module.path.exists()


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("value", ["one:two", ":two:one", "one:", "no/one:two"])
@pytest.mark.parametrize("there", [[], ["one", "two"]])
def test_the_file_is_the_one_that_kubectl_would_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str, there: list[str]
) -> None:
    def fresh(name: str) -> Path:
        directory = tmp_path / name
        directory.mkdir()
        for file in there:
            (directory / file).touch()
        return directory

    def written(directory: Path) -> list[str]:
        return [path.name for path in sorted(directory.iterdir()) if path.is_file() and path.stat().st_size]

    theirs, ours = fresh("theirs"), fresh("ours")
    command = ["kubectl", "config", "set-context", "c", "--cluster=c"]
    environment = os.environ | {"KUBECONFIG": value}
    done = subprocess.run(command, cwd=theirs, env=environment, capture_output=True, check=False)
    run_module("kubeconfig", DEV | {"paths": [str(ours / name) for name in value.split(":") if name]}, capsys)
    # It fails where an empty part is the last one, and nothing is there.
    assert written(ours) == (["one"] if done.returncode else written(theirs))
