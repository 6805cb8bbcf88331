# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages that a person opens: Services say so themselves, by a label and annotations.

``cicd.sandbox/page`` (label) is the first label of the page's host name. Annotations, all optional:
``cicd.sandbox/title``, ``text``, ``path`` (where a person begins), ``health-path`` (answers 200 where a pod may get
requests), ``contains`` (text in what ``path`` answers), ``port`` (a port's name) and ``timeout`` (seconds).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import Object, Target

PREFIX = "cicd.sandbox/"
LABEL = f"{PREFIX}page"
SERVICES = Target("Service", "v1", label_selector=LABEL)
TIMEOUT = 10
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_PATH = re.compile(r"/[A-Za-z0-9._~!&()*+,;=:@%/?-]*")


@dataclass(frozen=True)
class Page:
    """A page. ``node_port`` is 0 where no node leads to it; ``timeout`` in seconds."""

    name: str
    title: str
    text: str
    path: str
    health_path: str
    contains: str
    timeout: int
    namespace: str
    service: str
    node_port: int

    def as_dict(self) -> dict[str, Any]:
        """Return it as modules do."""
        return asdict(self)


def read_pages(services: Iterable[Object], reserved: Collection[str] = ()) -> tuple[list[Page], list[dict[str, str]]]:
    """The pages of Services, by name, and {name, reason} of those that can't be one. Of two of a name the older is.

    reserved: names that are others'.
    """
    found: dict[str, Page] = {}
    problems = []
    for service in sorted(services, key=_age):
        page = _page(service)
        reason = _refusal(page, found, reserved)
        if reason:
            where = f"Service {page.namespace}/{page.service}"
            problems.append({"name": where, "reason": f"the page {page.name} {reason}"})
        else:
            found[page.name] = page
    return [found[name] for name in sorted(found)], problems


def _refusal(page: Page, found: Mapping[str, Page], reserved: Collection[str]) -> str:
    # Whoever may change a Service writes these: what is no name or path must not reach a load balancer's configuration.
    if not _NAME.fullmatch(page.name):
        return "has a name that is no host name: lower-case letters, digits and dashes"
    if page.name in reserved:
        return "has a name of the sandbox's own"
    if page.name in found:
        return f"is that of Service {found[page.name].namespace}/{found[page.name].service}"
    for path in (page.path, page.health_path):
        if not _PATH.fullmatch(path):
            return f"has {path!r} for a path: it begins with / and has no spaces, quotes, #, $ or backslashes"
    return "" if page.node_port else "can't be reached: the Service's type is not NodePort"


def _age(service: Object) -> tuple[str, str, str]:
    metadata = service["metadata"]
    return (str(metadata.get("creationTimestamp") or ""), str(metadata.get("namespace")), str(metadata.get("name")))


def _page(service: Object) -> Page:
    metadata = service["metadata"]
    notes = {
        key.removeprefix(PREFIX): str(value)
        for key, value in (metadata.get("annotations") or {}).items()
        if key.startswith(PREFIX)
    }
    name = str(metadata["labels"][LABEL])
    ports = (service.get("spec") or {}).get("ports") or [{}]
    port = next((port for port in ports if port.get("name") == notes.get("port")), ports[0])
    timeout = notes.get("timeout", "")
    return Page(
        name=name,
        title=notes.get("title") or name,
        text=notes.get("text", ""),
        path=notes.get("path") or "/",
        health_path=notes.get("health-path") or "/",
        contains=notes.get("contains", ""),
        timeout=int(timeout) if timeout.isdigit() and int(timeout) else TIMEOUT,
        namespace=str(metadata.get("namespace")),
        service=str(metadata.get("name")),
        node_port=int(port.get("nodePort") or 0),
    )
