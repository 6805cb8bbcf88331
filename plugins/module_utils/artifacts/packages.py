# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes what upstream publishes in a package registry: wheels, npm packages, jars.

Each is had by the registry's ordinary client as the host has it configured, and is what its pinned sum says. Nothing of
a package is run. It is unpacked to a folder, of which `files` and `folders` say what goes into the entry.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import (
    ArtifactError,
    Runner,
    check_sum,
    content_key,
    remove_tree,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import for_downloads, tidied

# The oldest C library first: pip takes whatever fits one of them.
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64")
COPY_JAR = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"


def need(program: str, package: str) -> None:
    """Raise ArtifactError with the Debian package that has a program, where the host lacks it."""
    if shutil.which(program) is None:
        raise ArtifactError(f"{program} is not installed on this machine; install the Debian package {package}")


def take(unpacked: Path, output: Path, files: Mapping[str, str], folders: Mapping[str, str], name: str) -> None:
    """Copy what is wanted of an unpacked package, or of a folder where it was built, into an entry.

    Raises ArtifactError where it is not there.
    """
    for wanted, path in files.items():
        if not (unpacked / path).is_file():
            raise ArtifactError(f"{name} has no file {path}")
        shutil.copyfile(unpacked / path, output / wanted)
        (output / wanted).chmod(0o755)
    for wanted, path in folders.items():
        if not (unpacked / path).is_dir():
            raise ArtifactError(f"{name} has no folder {path}")
        shutil.copytree(unpacked / path, output / wanted, symlinks=True)


def install_wheels(
    requirements: Mapping[str, str], target: Path, cache: Path, runner: Runner, python: str = ""
) -> None:
    """Unpack wheels into a folder; requirements: "name==version" → SHA-256 of its wheel.

    cache: directory of the cache of artifacts, for what pip keeps.
    python: version such as "3.13" of the Python they are for, where it is not the host's own.
    """
    target.mkdir(parents=True)
    pins = target.with_name(f"{target.name}.txt")
    pins.write_text("".join(f"{name} --hash=sha256:{value}\n" for name, value in requirements.items()))
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:"]
    argv += ["--cache-dir", str(cache / "pip")]
    if python:
        argv += ["--python-version", python, "--implementation", "cp"]
        argv += [word for platform in PLATFORMS for word in ("--platform", platform)]
    try:
        runner.run([*argv, "--require-hashes", "--target", str(target), "--requirement", str(pins)])
    finally:
        pins.unlink()


def unpack_below(archive: Path, target: Path) -> None:
    """Unpack the files of a tar archive, without the folder, nearly always "package", that all of npm's are in.

    Raises ArtifactError for a name that leads out of `target`.
    """
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile():
                continue
            parts = PurePosixPath(member.name).parts
            if ".." in parts or parts[0] == "/" or len(parts) < 2:
                raise ArtifactError(f"{archive.name} has a file {member.name!r}")
            path = target.joinpath(*parts[1:])
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = tar.extractfile(member)
            if stream is not None:
                with stream, path.open("wb") as copy:
                    shutil.copyfileobj(stream, copy)
                path.chmod(0o755 if member.mode & 0o100 else 0o644)


@dataclass(frozen=True)
class Package:
    """What all packages have.

    files: name in the entry → path in the package; folders likewise, "." for all of it.
    """

    kind: ClassVar[str]
    files: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What the package is called."""
        raise NotImplementedError

    def unpack(self, work: Path, cache: Path, runner: Runner) -> Path:
        """Have the package in `work`, an empty folder; the folder that it is unpacked to."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """All that decides what is in the entry, for a key."""
        return {"kind": self.kind, **{name: value for name, value in asdict(self).items() if value and name != "sum"}}

    def fetch(self, work: Path, cache: Path, output: Path, runner: Runner) -> None:
        """Put what is wanted of the package into `output`; `work` is removed afterwards."""
        remove_tree(work)
        work.mkdir(parents=True)
        try:
            runner.step(f"downloading {self.title}")
            take(self.unpack(work, cache, runner), output, self.files, self.folders, self.title)
        finally:
            remove_tree(work)


@dataclass(frozen=True)
class Wheels(Package):
    """Wheels of PyPI that are unpacked together.

    requirements: "name==version" → SHA-256 of the wheel.
    python: version of the Python they are for; empty for programs that need none.
    """

    kind: ClassVar[str] = "wheels"
    requirements: dict[str, str] = field(default_factory=dict)
    python: str = ""

    def __post_init__(self) -> None:
        for name, value in self.requirements.items():
            if "==" not in name or not value:
                raise ArtifactError(f"wheel {name}: a version (name==version) and the sum of its wheel must be pinned")
        if not self.requirements or not (self.files or self.folders):
            raise ArtifactError(f"wheels {', '.join(self.requirements) or '(none)'}: nothing of them is asked for")

    @property
    def title(self) -> str:
        """What they are called."""
        return ", ".join(self.requirements)

    def unpack(self, work: Path, cache: Path, runner: Runner) -> Path:
        """Have pip unpack them."""
        install_wheels(self.requirements, work / "wheels", cache, runner, self.python)
        return work / "wheels"

    def identity(self) -> dict[str, Any]:
        """Not how downloads are checked."""
        return {**super().identity(), "requirements": sorted(self.requirements)}


@dataclass(frozen=True)
class NpmPackage(Package):
    """A package of npm as it was published; sum: its integrity, "sha512-" and 64 bytes in base64."""

    kind: ClassVar[str] = "npm"
    package: str = ""
    version: str = ""
    sum: str = ""

    def __post_init__(self) -> None:
        if not (self.package and self.version and self.sum.startswith("sha512-")):
            raise ArtifactError(f"npm package {self.package or '(none)'}: version and sum (sha512-…) must be pinned")
        if not (self.files or self.folders):
            raise ArtifactError(f"npm package {self.package}: nothing of it is asked for")

    @property
    def title(self) -> str:
        """name@version."""
        return f"{self.package}@{self.version}"

    def unpack(self, work: Path, cache: Path, runner: Runner) -> Path:
        """Have npm download it, and unpack its one folder."""
        need("npm", "npm")
        argv = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(work), self.title]
        runner.run(argv, cwd=work, env={**tidied(os.environ), "npm_config_cache": str(cache / "npm")})
        (archive,) = work.glob("*.tgz")
        with archive.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha512").digest()
        found = f"sha512-{base64.b64encode(digest).decode()}"
        if found != self.sum:
            raise ArtifactError(f"{self.title} has the sum {found}, the catalogue pins {self.sum}")
        unpacked = work / "unpacked"
        unpack_below(archive, unpacked)
        return unpacked


def maven_proxies(environment: Mapping[str, str]) -> list[str]:
    """Maven's arguments for the proxies of an environment, which it does not read.

    A password among them would be seen by everybody: Maven has that from its settings.
    """
    given = for_downloads(environment)
    options = []
    for scheme in ("http", "https"):
        parts = urlsplit(given.get(f"{scheme}_proxy", ""))
        if parts.hostname:
            options += [f"-D{scheme}.proxyHost={parts.hostname}", f"-D{scheme}.proxyPort={parts.port or 80}"]
    direct = [name.strip() for name in given.get("no_proxy", "").split(",") if name.strip()]
    if options and direct:
        options.append(f"-Dhttp.nonProxyHosts={'|'.join(f'*{name}' if name[0] == '.' else name for name in direct)}")
    return options


@dataclass(frozen=True)
class Jar(Package):
    """A file of Maven Central.

    artifact: group:artifact:version, with :packaging and :classifier where it has them; sum: the file's SHA-256.
    name: its name in the entry.
    """

    kind: ClassVar[str] = "jar"
    artifact: str = ""
    sum: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if self.artifact.count(":") < 2 or not self.sum or not self.name:
            raise ArtifactError(f"jar {self.artifact or '(none)'}: group:artifact:version, sum and name must be stated")
        if self.files or self.folders:
            raise ArtifactError(f"jar {self.artifact}: it is taken whole, as {self.name}")

    @property
    def title(self) -> str:
        """group:artifact:version."""
        return self.artifact

    def unpack(self, work: Path, cache: Path, runner: Runner) -> Path:
        """Have Maven copy it."""
        need("mvn", "maven")
        argv = ["mvn", "--batch-mode", "--no-transfer-progress", f"-Dmaven.repo.local={cache / 'maven'}"]
        settings = os.environ.get("MAVEN_SETTINGS", "")
        argv += ["--settings", settings] if settings else []
        argv += maven_proxies(os.environ)
        target = work / "jar"
        argv += [COPY_JAR, f"-Dartifact={self.artifact}", f"-DoutputDirectory={target}"]
        runner.run(argv, cwd=work)
        (jar,) = target.iterdir()
        check_sum(jar, self.sum)
        return jar.rename(work / self.name).parent

    def fetch(self, work: Path, cache: Path, output: Path, runner: Runner) -> None:
        """Put it into `output`."""
        remove_tree(work)
        work.mkdir(parents=True)
        try:
            runner.step(f"downloading {self.title}")
            shutil.move(self.unpack(work, cache, runner) / self.name, output / self.name)
        finally:
            remove_tree(work)


KINDS: dict[str, type[Package]] = {"jars": Jar, "npm": NpmPackage, "wheels": Wheels}


def packages_key(base: object, packages: Sequence[Package]) -> str:
    """The cache key of an entry that packages are added to; `base` is what else decides its content."""
    return content_key({"base": base, "packages": [package.identity() for package in packages]})
