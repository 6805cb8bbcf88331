# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds container images with buildah, or copies official ones with skopeo, into a content-keyed cache.

An image lies in the cache as an OCI image layout (https://github.com/opencontainers/image-spec) in
``images/<name>/<tag>-<key>/``. Every build has a container storage of its own beside the entry, so that a build that
was killed leaves nothing another one could stumble over.

A Containerfile's ``FROM`` names images as upstream does. Those that the catalogue knows are taken from the cache; no
other is ever pulled. What the host's apt, pip and npm are configured with (mirrors, proxies, CA files) is mounted
while ``RUN`` works and never becomes part of an image.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import (
    ArtifactError,
    Entry,
    Runner,
    Status,
    check_sum,
    content_key,
    making,
    remove_tree,
    sha256_file,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.effort import Effort
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import tidied
from ansible_collections.cicd.sandbox.plugins.module_utils.host.locks import held
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.debian_root import configured_sources

INDEX = "index.json"
CONTAINERFILES = ("Containerfile", "Dockerfile")
IGNORE_FILES = (".containerignore", ".dockerignore")
# Names that never belong to a context, whatever its ignore file says; node_modules alone is thousands of files.
ALWAYS_IGNORED = ("__pycache__", "node_modules", ".venv", ".git", ".*_cache", "*.pyc")
# What settings of pip and npm say of installations on the host is not for those in a container.
PIP_INSTALLATION = frozenset({"constraint", "dry-run", "no-binary", "only-binary", "prefix", "require-hashes"}) | {
    "require-virtualenv",
    "root",
    "target",
    "user",
}
NPM_INSTALLATION = frozenset({"cache", "global", "globalconfig", "location", "nodedir", "omit", "only", "prefix"}) | {
    "production",
    "userconfig",
}
# Raise when the way images are built changes, so that cached ones are made anew.
FORMAT = 1


@dataclass(frozen=True)
class Reference:
    """An image's name, in full."""

    registry: str
    repository: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference as people write it: "python:3.13-slim" is docker.io/library/python:3.13-slim."""
        name, _, tag = text.partition(":") if "/" not in text else _split_tag(text)
        first, slash, rest = name.partition("/")
        if not slash or ("." not in first and ":" not in first and first != "localhost"):
            first, rest = "docker.io", name
        if first == "docker.io" and "/" not in rest:
            rest = f"library/{rest}"
        if not re.fullmatch(r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*", rest):
            raise ArtifactError(f"{text!r} is not an image reference")
        return cls(first, rest, tag or "latest")

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}:{self.tag}"

    @property
    def mirrored(self) -> str:
        """Its repository and tag in the sandbox's registry: below the name of the registry it stands for."""
        return str(self)


OWN_REGISTRY = "registry.sandbox.internal"


def _split_tag(text: str) -> tuple[str, str, str]:
    head, slash, last = text.rpartition("/")
    name, colon, tag = last.partition(":")
    return head + slash + name, colon, tag


def base_references(containerfile: str) -> list[Reference]:
    """The images that a Containerfile starts from, without `scratch` and its own stages."""
    found: list[Reference] = []
    stages = {"scratch"}
    for line in containerfile.splitlines():
        match = re.match(r"\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$", line, re.IGNORECASE)
        if not match:
            continue
        image, stage = match.groups()
        if image not in stages:
            reference = Reference.parse(image)
            if reference not in found:
                found.append(reference)
        if stage:
            stages.add(stage)
    return found


def written_bases(containerfile: str) -> dict[str, Reference]:
    """The names of those images as they are written."""
    names = re.findall(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", containerfile, re.IGNORECASE | re.MULTILINE)
    wanted = base_references(containerfile)
    return {name: ref for name in names if name != "scratch" and (ref := _parsed(name)) in wanted}


def _parsed(name: str) -> Reference | None:
    try:
        return Reference.parse(name)
    except ArtifactError:
        return None


def _patterns(folder: Path) -> list[str]:
    for name in IGNORE_FILES:
        path = folder / name
        if path.is_file():
            lines = [line.strip() for line in path.read_text().splitlines()]
            return [line for line in lines if line and not line.startswith("#")]
    return []


def _never(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in ALWAYS_IGNORED)


def _matches(relative: str, pattern: str) -> bool:
    pattern = pattern.strip("/")
    parts = relative.split("/")
    prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    candidates = [pattern, pattern.removeprefix("**/")] if pattern.startswith("**/") else [pattern]
    if pattern.startswith("**/"):
        bare = pattern.removeprefix("**/")
        if any(fnmatch.fnmatchcase(part, bare) for part in parts):
            return True
    return any(
        prefix.count("/") == candidate.count("/") and fnmatch.fnmatchcase(prefix, candidate)
        for prefix in prefixes
        for candidate in candidates
    )


def source_files(folder: Path) -> list[str]:
    """Relative paths of a build context's files, without what its ignore file (and common sense) leaves out."""
    patterns = _patterns(folder)
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _never(name)]
        for name in (name for name in names if not _never(name)):
            relative = os.path.relpath(f"{root}/{name}", folder)
            ignored = False
            for pattern in patterns:
                negated = pattern.startswith("!")
                if _matches(relative, pattern.removeprefix("!")):
                    ignored = not negated
            if not ignored:
                found.append(relative)
    return sorted(found)


def source_digest(folder: Path) -> str:
    """A digest of a build context: names, contents and whether files are executable."""
    digest = hashlib.sha256()
    # An application may well leave its Dockerfile out of its image, but it decides what is built.
    instructions = [name for name in CONTAINERFILES if (folder / name).is_file()]
    for name in sorted({*source_files(folder), *instructions}):
        path = folder / name
        executable = bool(path.stat().st_mode & 0o100)
        digest.update(f"{name}\0{executable}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def application_version(folder: Path) -> str:
    """The version an application states in its own pyproject.toml or package.json."""
    project, package = folder / "pyproject.toml", folder / "package.json"
    version = ""
    if package.is_file():
        version = str(json.loads(package.read_text()).get("version", ""))
    elif project.is_file():
        match = re.search(r'^version\s*=\s*"([^"]+)"', project.read_text(), re.MULTILINE)
        version = match.group(1) if match else ""
    if not version:
        raise ArtifactError(f"{folder}: neither pyproject.toml nor package.json states a version")
    return version


@dataclass(frozen=True)
class ImageRecipe:
    """How an image is made.

    source: folder with the Containerfile and what it copies.
    files: name in the context → the cached program or folder.
    folders: name in the context → a folder of sources beside `source`.
    parts: component that some of them come from → the key of its cache entry.
    debootstrap: {suite, include} of a Debian root that is put in the context as root.tar.
    wheel: a PyPI requirement whose wheel is unpacked in the context as wheel/; wheel_sum: the wheel's SHA-256.
    bases: the images its Containerfile starts from → their cache entries.
    generation: the day on which an earlier one was found too old; changes the key and nothing else.
    """

    reference: Reference
    source: Path
    arguments: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    debootstrap: dict[str, object] = field(default_factory=dict)
    wheel: str = ""
    wheel_sum: str = ""
    bases: dict[Reference, Entry] = field(default_factory=dict)
    generation: str = ""
    folders: dict[str, Path] = field(default_factory=dict)

    @property
    def containerfile(self) -> Path:
        """The file with the instructions."""
        for name in CONTAINERFILES:
            if (self.source / name).is_file():
                return self.source / name
        raise ArtifactError(f"{self.source} has no {' or '.join(CONTAINERFILES)}")

    def key(self) -> str:
        """The cache key: changes with anything that changes the image."""
        beside = {name: source_digest(path) for name, path in self.folders.items()}
        return content_key(
            {
                "format": FORMAT,
                "source": source_digest(self.source),
                "arguments": self.arguments,
                "files": sorted(self.files),
                "parts": self.parts,
                "debootstrap": self.debootstrap,
                "wheel": self.wheel,
                "bases": {str(reference): entry.key for reference, entry in self.bases.items()},
                **({"generation": self.generation} if self.generation else {}),
                **({"folders": beside} if beside else {}),
            }
        )


def image_entry(cache: Path, reference: Reference, key: str) -> Entry:
    """Where an image lies in the cache."""
    return Entry(cache, _folder_name(reference), reference.tag, key, kind="images")


def _folder_name(reference: Reference) -> str:
    return re.sub(r"[/:]", "_", f"{reference.registry}/{reference.repository}")


def generation_file(cache: Path, reference: Reference) -> Path:
    """Where it is kept when a base was found too old: a day as in ISO 8601."""
    return cache / "images" / _folder_name(reference) / f".generation-{reference.tag}"


def generation(cache: Path, reference: Reference) -> str:
    """The day on which a base was last found too old, or nothing."""
    try:
        return generation_file(cache, reference).read_text().strip()
    except OSError:
        return ""


def layout_digest(layout: Path) -> str:
    """The digest of a layout's one manifest."""
    try:
        manifests = json.loads((layout / INDEX).read_text())["manifests"]
        return str(manifests[0]["digest"])
    except (OSError, ValueError, LookupError) as error:
        raise ArtifactError(f"{layout} is no OCI image layout: {error}") from error


def apt_settings(dump: str) -> str:
    """The lines of `apt-config dump` that say how to reach a mirror: proxies, CA files, time-outs."""
    lines = [line for line in dump.splitlines() if re.match(r"Acquire::(https?::|Retries)", line)]
    return "".join(f"{line}\n" for line in lines if not line.endswith(' "";'))


def pip_settings(listing: str) -> tuple[str, list[Path]]:
    """pip.conf of what `pip config list` shows, and the local paths it names; the environment wins over files."""
    merged: dict[str, str] = {}
    for line in sorted(listing.splitlines(), key=lambda text: text.startswith(":env:")):
        match = re.match(r"(?:global|install|download|:env:)\.([a-z-]+)=(['\"])(.*)\2$", line.strip())
        if match:
            merged[match.group(1)] = match.group(3).replace("\\n", "\n  ")
    for name in {"config-file"} | PIP_INSTALLATION:
        merged.pop(name, None)
    paths = [Path(word) for value in merged.values() for word in value.split() if word.startswith("/")]
    for name, value in list(merged.items()):
        if any(word.startswith("/") and not Path(word).exists() for word in value.split()):
            del merged[name]
    text = "[global]\n" + "".join(f"{name} = {value}\n" for name, value in sorted(merged.items()))
    return text, [path for path in paths if path.exists()]


def npm_settings(texts: Iterable[str], environment: Mapping[str, str]) -> tuple[str, list[Path]]:
    """Text of an npmrc from the host's (least important first) and its environment, and the local paths it names."""
    merged: dict[str, str] = {}
    for text in texts:
        for line in text.splitlines():
            name, equals, value = line.partition("=")
            if equals and not line.lstrip().startswith(("#", ";")):
                merged[name.strip()] = value.strip().strip('"')
    for name, value in environment.items():
        match = re.fullmatch(r"npm_config_([a-z_]+)", name, re.IGNORECASE)
        if match and match.group(1).lower() not in ("userconfig", "globalconfig"):
            merged[match.group(1).lower().replace("_", "-")] = value
    extra = environment.get("NODE_EXTRA_CA_CERTS", "")
    if extra and "cafile" not in merged:
        merged["cafile"] = extra
    for name in (
        "prefix",
        "nodedir",
        "cache",
        "globalconfig",
        "userconfig",
        "global",
        "location",
        "omit",
        "only",
        "production",
    ):
        merged.pop(name, None)
    path = Path(merged.get("cafile", ""))
    if "cafile" in merged and not path.is_file():
        del merged["cafile"]
    text = "".join(f"{name} = {value}\n" for name, value in sorted(merged.items()))
    return text, [path] if "cafile" in merged else []


def _output(argv: Sequence[str]) -> str:
    try:
        return subprocess.run(
            argv, check=False, capture_output=True, text=True, timeout=60, env=tidied(os.environ)
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def client_mounts(work: Path, suite: str) -> dict[str, Path]:
    """Path in the build container → file of the host, for what its package clients are configured with.

    Files that are written for this lie in `work`, which only its owner can read and which is removed after the build.
    """
    work.mkdir(mode=0o700)
    mounts: dict[str, Path] = {}

    def add(target: str, text: str) -> None:
        if text.strip():
            path = work / target.strip("/").replace("/", "_")
            path.write_text(text)
            mounts[target] = path

    if suite:
        add("/etc/apt/sources.list", "\n".join(configured_sources(suite)) + "\n")
    add("/etc/apt/apt.conf.d/90host", apt_settings(_output(["apt-config", "dump"])))
    pip, pip_paths = pip_settings(_output([sys.executable, "-m", "pip", "config", "list"]))
    add("/etc/pip.conf", pip)
    user = os.environ.get("NPM_CONFIG_USERCONFIG") or str(Path.home() / ".npmrc")
    system = _output(["npm", "config", "get", "globalconfig"]).strip()
    texts = [Path(name).read_text() for name in (system, user) if name and Path(name).is_file()]
    npm, npm_paths = npm_settings(texts, tidied(os.environ))
    add("/usr/local/etc/npmrc", npm)
    for path in [*pip_paths, *npm_paths]:
        mounts[str(path)] = path.resolve()
    return mounts


class ImageBuilder:
    """Makes images in the partial folder of their entry."""

    def __init__(self, entry: Entry, runner: Runner) -> None:
        self._runner = runner
        self._entry = entry
        self._work = entry.partial.with_name(f".work-{entry.key}")
        self._storage = self._work / "storage"

    def __enter__(self) -> Self:
        remove_tree(self._work)
        self._work.mkdir(parents=True, mode=0o700)
        return self

    def __exit__(self, *_: object) -> None:
        remove_tree(self._work)

    @property
    def _store(self) -> str:
        return f"overlay@{self._storage}+{self._work / 'run'}"

    def copy(self, reference: Reference, layout: Path) -> None:
        """Copy an official image, by the digest its tag has now."""
        self._runner.step(f"copying {reference}")
        name = f"docker://{reference.registry}/{reference.repository}"
        inspect = ["skopeo", "inspect", "--retry-times=3", "--format", "{{.Digest}}", f"{name}:{reference.tag}"]
        digest = self._runner.run(inspect, capture=True).strip()
        source = f"{name}@{digest}"
        copy = ["skopeo", "copy", "--retry-times=3", "--quiet", source, f"oci:{layout}:{reference.tag}"]
        self._runner.run(copy)

    def build(self, recipe: ImageRecipe, layout: Path) -> None:
        """Build an image from its Containerfile."""
        context = self._work / "context"
        self._fill(recipe, context)
        buildah = ["buildah", "--root", str(self._storage), "--runroot", str(self._work / "run")]
        buildah += ["--storage-driver", "overlay"]
        argv = [*buildah, "bud", "--isolation", "chroot", "--network", "host", "--pull-never", "--layers=false"]
        argv += ["--format", "oci", "--file", str(recipe.containerfile), "--tag", "localhost/result"]
        suite = ""
        written = written_bases(recipe.containerfile.read_text())
        for number, (reference, entry) in enumerate(recipe.bases.items()):
            self._runner.step(f"unpacking {reference}")
            local = f"localhost/base-{number}"
            source = f"oci:{entry.directory}:{reference.tag}"
            self._runner.run(["skopeo", "copy", "--quiet", source, f"containers-storage:[{self._store}]{local}"])
            for name in (name for name, base in written.items() if base == reference):
                argv += ["--build-context", f"{name}=docker-image://{local}"]
            suite = suite or _suite_of(entry)
        for name, value in recipe.arguments.items():
            argv += ["--build-arg", f"{name}={value}"]
        if recipe.bases:
            for target, path in client_mounts(self._work / "clients", suite).items():
                argv += ["--volume", f"{path}:{target}:ro"]
        self._runner.step(f"building {recipe.reference}")
        self._runner.run([*argv, str(context)], progress="lines")
        self._runner.step(f"packing {recipe.reference}")
        # zstd: machines unpack it several times faster than gzip.
        source = f"containers-storage:[{self._store}]localhost/result"
        packed = ["--quiet", "--dest-compress-format", "zstd", "--dest-compress-level", "3"]
        self._runner.run(["skopeo", "copy", *packed, source, f"oci:{layout}:{recipe.reference.tag}"])
        if recipe.debootstrap:
            suite = str(recipe.debootstrap["suite"])
        if suite:
            (layout / "debian-suite").write_text(f"{suite}\n")

    def _fill(self, recipe: ImageRecipe, context: Path) -> None:
        context.mkdir(parents=True)
        for folder, source in {"": recipe.source, **recipe.folders}.items():
            for name in source_files(source):
                target = context / folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source / name, target)
        for name, path in recipe.files.items():
            if path.is_dir():
                shutil.copytree(path, context / name)
            else:
                os.link(path, context / name)
        if recipe.wheel:
            self._runner.step(f"downloading {recipe.wheel}")
            argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
            self._runner.run([*argv, "--dest", str(self._work / "wheel"), recipe.wheel])
            for wheel in (self._work / "wheel").iterdir():
                check_sum(wheel, recipe.wheel_sum)
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(context / "wheel")
        if recipe.debootstrap:
            self._debootstrap(recipe, context / "root.tar")

    def _debootstrap(self, recipe: ImageRecipe, target: Path) -> None:
        suite = str(recipe.debootstrap["suite"])
        include = recipe.debootstrap.get("include") or []
        self._runner.step(f"making a Debian {suite} root")
        argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--aptopt=Apt::Install-Recommends false"]
        argv += [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale", "info")]
        if isinstance(include, list) and include:
            argv.append(f"--include={','.join(include)}")
        # The mirror is the host's affair: builds mount a list of sources, machines need none.
        argv.append('--customize-hook=echo > "$1/etc/apt/sources.list"')
        self._runner.run([*argv, suite, str(target), *configured_sources(suite)], progress="lines")


def _suite_of(entry: Entry) -> str:
    """The Debian suite of an image that was made here from one, else nothing."""
    try:
        return (entry.directory / "debian-suite").read_text().strip()
    except OSError:
        return ""


def build_image(entry: Entry, recipe: ImageRecipe | Reference, effort: Effort | None = None) -> bool:
    """Make sure an image is in the cache: built from a recipe, or the official one copied; whether it had to be made.

    Raises ArtifactError with the tool's last lines.
    """
    with held(entry.lock):
        if entry.usable():
            return False
        status = Status.of(entry)
        status.write(entry, state="building")
        try:
            runner = Runner(entry, status, effort)
            entry.log.write_text("")
            with making(entry) as partial, ImageBuilder(entry, runner) as builder:
                if isinstance(recipe, Reference):
                    builder.copy(recipe, partial)
                else:
                    builder.build(recipe, partial)
                layout_digest(partial)
        except ArtifactError as error:
            status.write(entry, state="failed", error=str(error))
            raise
        status.finish(entry)
        return True
