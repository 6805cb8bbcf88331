# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images: names, build contexts, what the host's clients are configured with, and what buildah is asked."""

from __future__ import annotations

import json
import stat
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts import image
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import (
    ArtifactError,
    Entry,
    making,
    remove_tree,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.effort import Effort
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.image import (
    ImageRecipe,
    Reference,
    application_version,
    apt_settings,
    base_references,
    build_image,
    client_mounts,
    image_entry,
    layout_digest,
    npm_settings,
    pip_settings,
    source_digest,
    source_files,
    written_bases,
)

TOOL = """#!{python}
import json, os, pathlib, sys
home = pathlib.Path({home!r})
name = pathlib.Path(sys.argv[0]).name
with (home / "calls.json").open("a") as stream:
    stream.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
if (home / f"fail-{{name}}").exists():
    sys.exit("Error: " + (home / f"fail-{{name}}").read_text())
if "inspect" in sys.argv:
    print("sha256:" + "d" * 64)
if sys.argv[-1].startswith("oci:"):
    layout = pathlib.Path(sys.argv[-1].split(":")[1])
    (layout / "index.json").write_text(json.dumps({{"manifests": [{{"digest": "sha256:" + "e" * 64}}]}}))
if name == "mmdebstrap":
    pathlib.Path([a for a in sys.argv if a.endswith("root.tar")][0]).write_text("root")
if "bud" in sys.argv:
    (home / "context.json").write_text(json.dumps(sorted(
        str(p.relative_to(sys.argv[-1])) for p in pathlib.Path(sys.argv[-1]).rglob("*") if p.is_file())))
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """buildah, skopeo and mmdebstrap that only write down what they are asked."""
    home = tmp_path / "tools"
    home.mkdir()
    for name in ("buildah", "skopeo", "mmdebstrap"):
        path = home / name
        path.write_text(TOOL.format(python=sys.executable, home=str(home)))
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    monkeypatch.setattr(image, "configured_sources", lambda suite: [f"deb http://mirror.example {suite} main"])
    return home


def calls(tools: Path) -> list[list[str]]:
    return [json.loads(line) for line in (tools / "calls.json").read_text().splitlines()]


def folder(path: Path, **files: str) -> Path:
    for name, content in files.items():
        target = path / name.replace("__", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    return path


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("python:3.13-slim", "docker.io/library/python:3.13-slim"),
        ("rancher/local-path-provisioner:v1", "docker.io/rancher/local-path-provisioner:v1"),
        ("registry.k8s.io/coredns/coredns:v1.14.7", "registry.k8s.io/coredns/coredns:v1.14.7"),
        ("127.0.0.1:5000/a:b", "127.0.0.1:5000/a:b"),
        ("localhost/a", "localhost/a:latest"),
    ],
)
def test_references_are_completed_as_everywhere(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full


def test_what_is_no_reference_is_refused() -> None:
    with pytest.raises(ArtifactError, match="not an image reference"):
        Reference.parse("Debian Linux")


def test_the_registry_keeps_upstreams_names_below_upstreams_registry() -> None:
    assert Reference.parse("registry.k8s.io/pause:3.10.2").mirrored == "registry.k8s.io/pause:3.10.2"
    assert Reference.parse("busybox").mirrored == "docker.io/library/busybox:latest"
    assert Reference.parse("registry.sandbox.internal/front-end:1").mirrored == "registry.sandbox.internal/front-end:1"


def test_bases_are_what_a_containerfile_starts_from() -> None:
    text = """
        # FROM comment
        FROM --platform=linux/amd64 python:3.13-slim AS build
        RUN x
        from docker.io/library/debian:trixie-slim
        COPY --from=build /a /a
        FROM build
        FROM scratch
        FROM python:3.13-slim
    """
    assert [str(base) for base in base_references(text)] == [
        "docker.io/library/python:3.13-slim",
        "docker.io/library/debian:trixie-slim",
    ]
    assert set(written_bases(text)) == {"python:3.13-slim", "docker.io/library/debian:trixie-slim"}


# --- build contexts ---------------------------------------------------------------------------------------------------


def test_ignored_files_are_left_out(tmp_path: Path) -> None:
    names = ["app.py", "src__main.js", "src__test.log", "node_modules__x__index.js", "docs__a.md", "docs__keep.md"]
    context = folder(tmp_path, **dict.fromkeys([*names, "deep__a.pyc"], ""))
    (context / ".dockerignore").write_text("# comment\n**/*.log\ndocs\n!docs/keep.md\n!deep\n")
    assert source_files(context) == [".dockerignore", "app.py", "docs/keep.md", "src/main.js"]


def test_an_allow_list_lets_through_what_it_names(tmp_path: Path) -> None:
    context = folder(tmp_path, **{"Dockerfile": "", "src__a.js": "", "src__x.pyc": "", "test__a.js": "", "x.json": ""})
    (context / ".dockerignore").write_text("*\n!src\n!x.json\n")
    assert source_files(context) == ["src/a.js", "x.json"]


def test_the_digest_knows_names_contents_modes_and_instructions(tmp_path: Path) -> None:
    context = folder(tmp_path, **{"Dockerfile": "FROM a", "a": "1", ".dockerignore": "*\n!a\n"})
    seen = {source_digest(context)}
    (context / "a").write_text("2")
    seen.add(source_digest(context))
    (context / "a").chmod(0o755)
    seen.add(source_digest(context))
    (context / "Dockerfile").write_text("FROM b")
    seen.add(source_digest(context))
    assert len(seen) == 4
    (context / "ignored").write_text("3")
    assert source_digest(context) in seen


def test_an_application_states_its_version(tmp_path: Path) -> None:
    folder(tmp_path / "python", **{"pyproject.toml": '[project]\nname = "x"\nversion = "1.2.0"\n'})
    folder(tmp_path / "node", **{"package.json": '{"version": "3.4.5"}'})
    (tmp_path / "none").mkdir()
    assert application_version(tmp_path / "python") == "1.2.0"
    assert application_version(tmp_path / "node") == "3.4.5"
    with pytest.raises(ArtifactError, match="states a version"):
        application_version(tmp_path / "none")


# --- what the host's clients are configured with ----------------------------------------------------------------------


def test_apt_settings_are_those_that_reach_a_mirror() -> None:
    dump = (
        'APT::Architecture "amd64";\nAcquire::http::Proxy "http://proxy.example:3128";\n'
        'Acquire::https::CaInfo "/etc/ca.crt";\nAcquire::https::Proxy "";\nAcquire::Languages "none";\n'
    )
    assert apt_settings(dump).splitlines() == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::https::CaInfo "/etc/ca.crt";',
    ]


def test_pip_settings_name_local_paths_that_exist(tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.touch()
    listing = (
        f":env:.cert='{ca}'\n:env:.config-file='/root/pip.conf'\nglobal.cert='/elsewhere/ca.crt'\n"
        "global.index-url='https://index.example/simple'\nglobal.find-links='/no/such/folder'\nfreeze.timeout='10'\n"
    )
    text, paths = pip_settings(listing)
    assert text.splitlines() == ["[global]", f"cert = {ca}", "index-url = https://index.example/simple"]
    assert paths == [ca]


def test_npm_settings_come_from_files_and_environment(tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.touch()
    texts = ["registry=https://one.example\n; note\nprefix=/usr\n", 'registry = "https://two.example"\naudit=false\n']
    environment = {"npm_config_fetch_retries": "5", "NODE_EXTRA_CA_CERTS": str(ca), "HOME": "/root"}
    text, paths = npm_settings(texts, environment)
    assert text.splitlines() == [
        "audit = false",
        f"cafile = {ca}",
        "fetch-retries = 5",
        "registry = https://two.example",
    ]
    assert paths == [ca]
    assert npm_settings([], {"NODE_EXTRA_CA_CERTS": "/no/such/file"}) == ("", [])


def test_settings_lie_where_only_their_owner_reads(tools: Path, tmp_path: Path) -> None:
    mounts = client_mounts(tmp_path / "clients", "trixie")
    assert stat.S_IMODE((tmp_path / "clients").stat().st_mode) == 0o700
    assert mounts["/etc/apt/sources.list"].read_text() == "deb http://mirror.example trixie main\n"


# --- building ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def base(tmp_path: Path) -> Entry:
    entry = Entry(tmp_path / "cache", "docker.io_library_debian", "trixie-slim", "00000000", kind="images")
    with making(entry) as layout:
        (layout / "index.json").write_text('{"manifests": [{"digest": "sha256:0"}]}')
        (layout / "debian-suite").write_text("trixie\n")
    return entry


def recipe_of(tmp_path: Path, base: Entry, **values: Any) -> ImageRecipe:
    source = folder(tmp_path / "image", Containerfile="FROM docker.io/library/debian:trixie-slim\nCOPY tool /tool\n")
    tool = folder(tmp_path / "programs", tool="program") / "tool"
    reference = Reference.parse("registry.k8s.io/tool:v1")
    bases = {Reference.parse("debian:trixie-slim"): base}
    return ImageRecipe(reference, source, files={"tool": tool}, parts={"tool": "k"}, bases=bases, **values)


def test_the_key_changes_with_all_that_goes_in(tmp_path: Path, base: Entry) -> None:
    recipe = recipe_of(tmp_path, base)
    other = Entry(base.cache, base.name, base.version, "11111111", kind="images")
    keys = {
        recipe.key(),
        recipe_of(tmp_path, base, arguments={"A": "b"}).key(),
        recipe_of(tmp_path, base, wheel="x==1").key(),
        recipe_of(tmp_path, other).key(),
        ImageRecipe(**{**vars(recipe), "parts": {"tool": "other"}}).key(),
    }
    assert len(keys) == 5


def test_an_image_is_built_from_the_cache_alone(tools: Path, tmp_path: Path, base: Entry) -> None:
    recipe = recipe_of(tmp_path, base, arguments={"PROGRAM": "tool"})
    entry = image_entry(base.cache, recipe.reference, recipe.key())
    assert build_image(entry, recipe, effort=Effort(0)) is True
    assert build_image(entry, recipe, effort=Effort(0)) is False
    assert layout_digest(entry.directory) == "sha256:" + "e" * 64

    unpack, bud, pack = calls(tools)
    assert unpack[:3] == ["skopeo", "copy", "--quiet"]
    assert unpack[3] == f"oci:{base.directory}:trixie-slim"
    assert "--pull-never" in bud
    assert bud[bud.index("--isolation") + 1] == "chroot"
    assert "docker.io/library/debian:trixie-slim=docker-image://localhost/base-0" in bud
    assert "PROGRAM=tool" in bud
    assert any(word.endswith(":/etc/apt/sources.list:ro") for word in bud)
    assert pack[-1] == f"oci:{entry.partial}:v1"
    assert json.loads((tools / "context.json").read_text()) == ["Containerfile", "tool"]
    # Neither storage nor settings are left.
    assert sorted(path.name for path in entry.directory.parent.iterdir()) == [entry.directory.name]
    assert not [path for path in entry.directory.rglob("*") if "sources" in path.name]


def test_sources_beside_the_containerfile_are_in_the_context(tools: Path, tmp_path: Path, base: Entry) -> None:
    plugin = folder(tmp_path / "plugin", src__index="1", node_modules__left="2")
    recipe = recipe_of(tmp_path, base, folders={"plugin": plugin})
    build_image(image_entry(base.cache, recipe.reference, recipe.key()), recipe, effort=Effort(0))
    assert json.loads((tools / "context.json").read_text()) == ["Containerfile", "plugin/src/index", "tool"]
    assert recipe.key() != recipe_of(tmp_path, base).key()


def test_a_debian_base_is_made_of_the_hosts_mirror(tools: Path, tmp_path: Path) -> None:
    source = folder(tmp_path / "image", Containerfile="FROM scratch\nADD root.tar /\n")
    recipe = ImageRecipe(
        Reference.parse("debian:trixie-slim"), source, debootstrap={"suite": "trixie", "include": ["ca-certificates"]}
    )
    entry = image_entry(tmp_path / "cache", recipe.reference, recipe.key())
    build_image(entry, recipe, effort=Effort(0))
    made, bud, _ = calls(tools)
    assert made[0] == "mmdebstrap"
    assert "--include=ca-certificates" in made
    assert made[-1] == "deb http://mirror.example trixie main"
    assert "--volume" not in bud
    assert (entry.directory / "debian-suite").read_text() == "trixie\n"


def test_a_wheel_is_unpacked_into_the_context(
    tools: Path, tmp_path: Path, base: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = image.Runner.run

    def run(self: Any, argv: list[str], **rest: Any) -> str:
        if "pip" not in argv:
            return real(self, argv, **rest)
        target = Path(argv[argv.index("--dest") + 1])
        target.mkdir()
        with zipfile.ZipFile(target / "x.whl", "w") as archive:
            archive.writestr("bin/node", "node")
        return ""

    monkeypatch.setattr(image.Runner, "run", run)
    recipe = recipe_of(tmp_path, base, wheel="node==24")
    build_image(image_entry(base.cache, recipe.reference, recipe.key()), recipe, effort=Effort(0))
    assert "wheel/bin/node" in json.loads((tools / "context.json").read_text())

    pinned = recipe_of(tmp_path, base, wheel="node==24", wheel_sum="0" * 64)
    # How a download is checked does not decide what is built.
    assert pinned.key() == recipe.key()
    entry = image_entry(base.cache, pinned.reference, pinned.key())
    remove_tree(entry.directory)
    with pytest.raises(ArtifactError, match=r"x\.whl has the sum [0-9a-f]{64}, the catalogue pins 0{64}"):
        build_image(entry, pinned, effort=Effort(0))


def test_an_official_image_is_copied_by_digest(tools: Path, tmp_path: Path) -> None:
    reference = Reference.parse("registry.k8s.io/pause:3.10.2")
    entry = image_entry(tmp_path / "cache", reference, "00000000")
    assert build_image(entry, reference, effort=Effort(0)) is True
    _, copy = calls(tools)
    assert copy[-2] == "docker://registry.k8s.io/pause@sha256:" + "d" * 64
    assert entry.directory.name == "3.10.2-00000000"


def test_buildahs_own_words_are_told_and_nothing_is_left(tools: Path, tmp_path: Path, base: Entry) -> None:
    (tools / "fail-buildah").write_text("building at STEP: no such package")
    recipe = recipe_of(tmp_path, base)
    entry = image_entry(base.cache, recipe.reference, recipe.key())
    with pytest.raises(ArtifactError, match="no such package"):
        build_image(entry, recipe, effort=Effort(0))
    assert list(entry.directory.parent.iterdir()) == []


def test_a_folder_without_instructions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no Containerfile or Dockerfile"):
        ImageRecipe(Reference.parse("x"), tmp_path).containerfile.exists()


def test_what_is_no_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no OCI image layout"):
        layout_digest(tmp_path)
