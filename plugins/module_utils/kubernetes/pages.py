# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages that a person opens: HTTPRoutes of the Gateway API say so themselves.

Every HTTPRoute of the sandbox's Gateway is one, at its host names. Annotations tell more, all optional:
``cicd.sandbox/title``, ``text``, ``path`` (where a person begins), ``contains`` (text in what ``path`` answers),
``health-path`` (answers 200 where a pod may get requests; asked where no gateway looks at pods) and ``login`` (``true``
where the gateway asks for the login of the pages).
https://gateway-api.sigs.k8s.io/reference/spec/#httproute
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import Object, Target

PREFIX = "cicd.sandbox/"
GROUP = "gateway.networking.k8s.io"
ROUTES = Target("HTTPRoute", f"{GROUP}/v1")
SERVICES = Target("Service", "v1")
TIMEOUT = 10
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_PATH = re.compile(r"/[A-Za-z0-9._~!&()*+,;=:@%/?-]*")
# Durations of the Gateway API (GEP-2257): up to four numbers with their unit.
_DURATION = re.compile(r"(\d{1,5})(h|ms|m|s)")
_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


@dataclass(frozen=True)
class Page:
    """A page, named by the first label of its first host name.

    ``timeout`` in seconds; ``streams`` are beginnings of paths whose answers have none. ``service`` answers behind it;
    ``node_port`` is 0 where no node leads there.
    """

    name: str
    hosts: list[str]
    title: str
    text: str
    path: str
    health_path: str
    contains: str
    login: bool
    timeout: int
    streams: list[str]
    namespace: str
    route: str
    service: str
    service_namespace: str
    node_port: int

    def as_dict(self) -> dict[str, Any]:
        """Return it as modules do."""
        return asdict(self)


def belongs(route: Object, gateway: tuple[str, str]) -> bool:
    """Whether an HTTPRoute wants to be one of a Gateway (namespace, name)."""
    return any(_is_parent(reference, route, gateway) for reference in (route.get("spec") or {}).get("parentRefs") or [])


def _is_parent(reference: Mapping[str, Any], route: Object, gateway: tuple[str, str]) -> bool:
    namespace = reference.get("namespace") or route["metadata"].get("namespace")
    ours = (reference.get("group", GROUP), reference.get("kind", "Gateway")) == (GROUP, "Gateway")
    return ours and (namespace, reference.get("name")) == gateway


def read_pages(
    routes: Iterable[Object],
    services: Iterable[Object],
    gateway: tuple[str, str],
    reserved: Collection[str] = (),
    *,
    by_node_port: bool = False,
) -> tuple[list[Page], list[dict[str, str]]]:
    """The pages of HTTPRoutes, by name, and {name, reason} of those that can't be one. Of two of a host the older is.

    gateway: namespace and name of the Gateway whose routes are pages.
    reserved: host names that are others'.
    by_node_port: there is no gateway; what is outside of the cluster asks node ports of Services.
    """
    known = {(s["metadata"].get("namespace"), s["metadata"]["name"]): s for s in services}
    taken: dict[str, Page] = {}
    found: list[Page] = []
    problems = []
    for route in sorted((route for route in routes if belongs(route, gateway)), key=_age):
        page = _page(route, known)
        if page.hosts and page.hosts[0] in taken and not _notes(route):
            taken[page.hosts[0]].streams.extend(page.streams)
            continue  # another path of a page that is told already
        reason = (
            _refusal(page, taken, reserved)
            or _refused(route, gateway)
            or (_unreachable(page, known) if by_node_port else "")
        )
        if reason:
            where = f"HTTPRoute {page.namespace}/{page.route}"
            problems.append({"name": where, "reason": f"the page {page.hosts[0] if page.hosts else ''} {reason}"})
        else:
            taken.update(dict.fromkeys(page.hosts, page))
            found.append(page)
    return sorted(found, key=lambda page: (page.name, page.hosts)), problems


def _refusal(page: Page, taken: Mapping[str, Page], reserved: Collection[str]) -> str:
    # Whoever may change a route writes these: what is no name or path must not reach a load balancer's configuration.
    if not page.hosts:
        return "has no host name of its own (hostnames)"
    for host in page.hosts:
        if not _HOST.fullmatch(host):
            return f"has {host!r} for a host name: labels of lower-case letters, digits and dashes, and no wildcard"
        if host in reserved:
            return f"has a name of the sandbox's own, {host}"
        if host in taken:
            return f"is that of HTTPRoute {taken[host].namespace}/{taken[host].route}"
    for path in (page.path, page.health_path, *page.streams):
        if not _PATH.fullmatch(path):
            return f"has {path!r} for a path: it begins with / and has no spaces, quotes, #, $ or backslashes"
    return ""


def _refused(route: Object, gateway: tuple[str, str]) -> str:
    """Why the gateway does not take a route, in the gateway's words."""
    for parent in (route.get("status") or {}).get("parents") or []:
        if not _is_parent(parent.get("parentRef") or {}, route, gateway):
            continue
        for condition in parent.get("conditions") or []:
            if condition.get("type") in ("Accepted", "ResolvedRefs") and condition.get("status") == "False":
                words = " ".join(str(condition.get("message", "")).split())
                return f"is refused by the gateway: {condition.get('reason')}: {words}"
    return ""


def _unreachable(page: Page, services: Mapping[tuple[Any, Any], Object]) -> str:
    if page.node_port:
        return ""
    name = f"{page.service_namespace}/{page.service}"
    if (page.service_namespace, page.service) not in services:
        return f"can't be reached: there is no Service {name}"
    return f"can't be reached: no node port leads to Service {name}, and without a gateway its type has to be NodePort"


def _age(route: Object) -> tuple[str, str, str]:
    metadata = route["metadata"]
    return (str(metadata.get("creationTimestamp") or ""), str(metadata.get("namespace")), str(metadata.get("name")))


def _notes(route: Object) -> dict[str, str]:
    return {
        key.removeprefix(PREFIX): str(value)
        for key, value in (route["metadata"].get("annotations") or {}).items()
        if key.startswith(PREFIX)
    }


def _seconds(duration: str) -> int:
    """Whole seconds of a duration, one at least; TIMEOUT where it is none."""
    parts = _DURATION.findall(duration)
    total = sum(int(number) * _MILLISECONDS[unit] for number, unit in parts)
    return max(1, -(-total // 1000)) if total else TIMEOUT


def _limit(rule: Object) -> str:
    return str((rule.get("timeouts") or {}).get("request", ""))


def _endless(rule: Object) -> bool:
    """Whether a rule says that answers may take any time: a duration of zero."""
    parts = _DURATION.findall(_limit(rule))
    return bool(parts) and not any(int(number) for number, _unit in parts)


def _beginnings(rule: Object) -> list[str]:
    """With what paths begin that a rule is for; what a regular expression matches begins with anything."""
    paths: list[Object] = [match.get("path") or {} for match in rule.get("matches") or [{}]]
    return ["/" if path.get("type") == "RegularExpression" else str(path.get("value") or "/") for path in paths]


def _page(route: Object, services: Mapping[tuple[Any, Any], Object]) -> Page:
    metadata, spec, notes = route["metadata"], route.get("spec") or {}, _notes(route)
    hosts = [str(host) for host in spec.get("hostnames") or []]
    name = hosts[0].partition(".")[0] if hosts else str(metadata.get("name"))
    rules = spec.get("rules") or [{}]
    rule = next((rule for rule in rules if not _endless(rule)), rules[0])
    backend = (rule.get("backendRefs") or [{}])[0]
    namespace = str(backend.get("namespace") or metadata.get("namespace"))
    service = services.get((namespace, backend.get("name")), {})
    ports = (service.get("spec") or {}).get("ports") or []
    port: Object = next((port for port in ports if port.get("port") == backend.get("port")), {})
    return Page(
        name=name,
        hosts=hosts,
        title=notes.get("title") or name,
        text=notes.get("text", ""),
        path=notes.get("path") or "/",
        health_path=notes.get("health-path") or "/",
        contains=notes.get("contains", ""),
        login=notes.get("login") == "true",
        timeout=_seconds(_limit(rule)),
        streams=[path for rule in rules if _endless(rule) for path in _beginnings(rule)],
        namespace=str(metadata.get("namespace")),
        route=str(metadata.get("name")),
        service=str(backend.get("name", "")),
        service_namespace=namespace,
        node_port=int(port.get("nodePort") or 0),
    )
