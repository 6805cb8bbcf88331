# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares what the artifact store and the image registry hold with the cache, and fills the registry."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import (
    SUMS,
    ArtifactError,
    format_sums,
    parse_sums,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import (
    Catalogue,
    ComponentPlan,
    ImagePlan,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.image import layout_digest
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import for_own_hosts
from ansible_collections.cicd.sandbox.plugins.module_utils.host.web import FAILURES, said_by

MANIFEST_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
TIMEOUT = 20
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Server:
    """An HTTPS server of the sandbox; `url` without a path, `ca` the certificate of the CA that signed its own."""

    url: str
    ca: Path
    user: str = ""
    password: str = ""

    @property
    def host(self) -> str:
        """host:port."""
        return urlsplit(self.url).netloc

    def authorization(self) -> str:
        """user:password as HTTP's basic authentication and Docker's auth file want it."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def connect(self) -> http.client.HTTPConnection:
        """A connection; http is understood for tests."""
        parts = urlsplit(self.url)
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
        context = ssl.create_default_context(cafile=str(self.ca))
        return http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT, context=context)

    def ask(self, method: str, paths: Sequence[str], accept: str = "*/*") -> list[tuple[int, dict[str, str], bytes]]:
        """One request for each path on one connection: (status, headers in lower case, body).

        Raises ArtifactError when the server can't be reached.
        """
        headers = {"Accept": accept}
        if self.user:
            headers["Authorization"] = f"Basic {self.authorization()}"
        answers = []
        try:
            connection = self.connect()
            try:
                for path in paths:
                    connection.request(method, path, headers=headers)
                    answer = connection.getresponse()
                    body = answer.read()
                    answers.append((answer.status, {k.lower(): v for k, v in answer.getheaders()}, body))
            finally:
                connection.close()
        except FAILURES as error:
            raise ArtifactError(f"{self.url} can't be reached: {said_by(error)}") from error
        return answers


def store_sums(plan: ComponentPlan) -> dict[str, str]:
    """File → sum of what a component has in the store."""
    if plan.entry is None or not plan.files:
        return {}
    sums = plan.entry.sums()
    missing = [name for name in plan.files if name not in sums]
    if missing:
        raise ArtifactError(f"{plan.entry.directory} has no {', '.join(missing)}, which the catalogue names as files")
    return {name: sums[name] for name in plan.files}


def stale_files(store: Server, plans: Iterable[ComponentPlan]) -> list[ComponentPlan]:
    """The components whose folder in the store is not what the cache has."""
    wanted = [(plan, sums) for plan in plans if (sums := store_sums(plan))]
    if not wanted:
        return []
    paths = [f"/{plan.name}/{plan.version}/{name}" for plan, _ in wanted for name in (SUMS, "")]
    answers = store.ask("GET", paths)
    for path, (status, _, _) in zip(paths, answers, strict=True):
        if status not in (200, 404):
            raise ArtifactError(f"{store.url}{path} answers {status}")
    stale = []
    for (plan, sums), stated, listed in zip(wanted, answers[::2], answers[1::2], strict=True):
        published = parse_sums(stated[2].decode(errors="replace")) if stated[0] == 200 else None
        if published != sums or listed[0] != 200 or not looks_whole(plan, listed[2]):
            stale.append(plan)
    return stale


def looks_whole(plan: ComponentPlan, listing: bytes) -> bool:
    """Whether a folder of the store looks as it was left: sizes as in the cache, nothing younger than the sums.

    listing: nginx's autoindex_format json: a list of {name, type, mtime, size}, mtime as in HTTP headers. SHA256SUMS is
    written last, so that a file that changed since is younger.
    """
    if plan.entry is None:
        return True
    try:
        found = {item["name"]: (item["size"], parsedate_to_datetime(item["mtime"])) for item in json.loads(listing)}
        published = found[SUMS][1]
        return all(
            found[name][0] == (plan.entry.directory / name).stat().st_size and found[name][1] <= published
            for name in plan.files
        )
    except (ValueError, LookupError, TypeError):
        return False


def sums_text(plan: ComponentPlan) -> str:
    """SHA256SUMS of a component's folder in the store."""
    return format_sums(store_sums(plan))


def stale_images(registry: Server, images: Sequence[ImagePlan]) -> list[ImagePlan]:
    """The images that the registry lacks, or has with another digest."""
    if not images:
        return []
    paths = []
    for image in images:
        repository, _, tag = image.reference.mirrored.rpartition(":")
        paths.append(f"/v2/{repository}/manifests/{tag}")
    stale = []
    for image, (status, headers, _) in zip(images, registry.ask("HEAD", paths, MANIFEST_TYPES), strict=True):
        if status in (401, 403):
            raise ArtifactError(f"{registry.url} refuses user {registry.user!r} ({status}): is the password its own?")
        if status not in (200, 404):
            raise ArtifactError(f"{registry.url} answers {status} for {image.reference.mirrored}")
        if status == 404 or headers.get("docker-content-digest") != layout_digest(image.entry.directory):
            stale.append(image)
    return stale


@dataclass(frozen=True)
class Difference:
    """What store and registry lack of the cache."""

    files: list[ComponentPlan]
    images: list[ImagePlan]

    def current(self, plans: Iterable[ComponentPlan], tools: Path) -> set[str]:
        """Names of the components of which nothing is lacking; `tools` is the folder of the controller's programs."""
        return {
            plan.name
            for plan in plans
            if plan not in self.files
            and not any(image in self.images for image in plan.images)
            and not link_tools([plan], tools, dry_run=True)
        }


def compare(store: Server, registry: Server, plans: Sequence[ComponentPlan]) -> Difference:
    """Ask store and registry at the same time."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        files = pool.submit(stale_files, store, plans)
        images = pool.submit(stale_images, registry, [image for plan in plans for image in plan.images])
        return Difference(files.result(), images.result())


def cached_plans(catalogue: Catalogue, names: Iterable[str]) -> list[ComponentPlan]:
    """The plans of those components that the cache has; what can't be planned yet is left out."""
    plans = []
    for name in sorted(names):
        try:
            plan = catalogue.plan(name)
        except ArtifactError:
            continue
        if all(entry.present() for entry in plan.entries):
            plans.append(plan)
    return plans


def layouts(plans: Iterable[ComponentPlan]) -> dict[str, str]:
    """Image, as the registry has it → its OCI layout in the cache, of those that are there."""
    images = [image for plan in plans for image in plan.images if image.entry.present()]
    return {image.reference.mirrored: str(image.entry.directory) for image in images}


def push_argv(image: ImagePlan, registry: str, authfile: Path, certificates: Path) -> list[str]:
    """The command that copies an image from the cache into the registry, byte for byte."""
    return [
        "skopeo",
        "copy",
        "--quiet",
        "--preserve-digests",
        "--retry-times=3",
        f"--dest-authfile={authfile}",
        f"--dest-cert-dir={certificates}",
        f"oci:{image.entry.directory}:{image.reference.tag}",
        f"docker://{registry}/{image.reference.mirrored}",
    ]


def push_images(registry: Server, images: Sequence[ImagePlan], at_once: int = 2) -> list[str]:
    """Push images; what was pushed, with the seconds it took.

    Raises ArtifactError with skopeo's own words. The password is in a file that only this user can read.
    """
    with tempfile.TemporaryDirectory(prefix="cicd-sandbox-push-") as folder:
        authfile = Path(folder) / "auth.json"
        authfile.touch(mode=0o600)
        authfile.write_text(json.dumps({"auths": {registry.host: {"auth": registry.authorization()}}}))
        certificates = Path(folder) / "certificates"
        certificates.mkdir()
        (certificates / "ca.crt").write_bytes(registry.ca.read_bytes())

        def push(image: ImagePlan) -> str:
            damage = image.entry.damage(thorough=True)
            if damage:
                raise ArtifactError(f"{image.entry.directory} is damaged: {damage}; the next run makes it again")
            began = time.monotonic()
            argv = push_argv(image, registry.host, authfile, certificates)
            result = subprocess.run(argv, check=False, capture_output=True, text=True, env=for_own_hosts(os.environ))
            if result.returncode != 0:
                raise ArtifactError(f"pushing {image.reference}:\n{result.stderr.strip()[-2000:]}")
            return f"{image.reference.mirrored} ({time.monotonic() - began:.1f} s)"

        return _side_by_side(push, images, at_once)


def _side_by_side(work: Callable[[Item], Result], items: Iterable[Item], at_once: int) -> list[Result]:
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(work, items))


def link_tools(plans: Iterable[ComponentPlan], directory: Path, dry_run: bool = False) -> list[str]:
    """Link the controller's own programs into a folder; the names of those that were not right yet."""
    changed = []
    for plan in plans:
        if plan.entry is None:
            continue
        for name in plan.tools:
            link, target = directory / name, plan.entry.directory / name
            if link.is_symlink() and link.readlink() == target:
                continue
            changed.append(name)
            if not dry_run:
                directory.mkdir(parents=True, exist_ok=True)
                fresh = directory / f".{name}.new"
                fresh.unlink(missing_ok=True)
                fresh.symlink_to(target)
                fresh.replace(link)
    return changed
