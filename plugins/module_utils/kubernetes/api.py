# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a Kubernetes API: for objects of any kind, events and logs, or to change one. Safe to use from several threads.

Of the `kubernetes` client it takes the kubeconfig's reader, the transport and the errors. It finds kinds itself, one
small request for an API version that is asked for: the client's own discovery asks for all of them, remembers what an
API server did not serve yet, keeps files in /tmp and is not made for threads.
"""

from __future__ import annotations

import copy
import dataclasses
import http.client
import json
import math
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from ansible_collections.cicd.sandbox.plugins.module_utils.host.bounded import within

KUBERNETES_IMPORT_ERROR: str | None = None
try:
    import urllib3
    from kubernetes import client, config
    from kubernetes.dynamic import DynamicClient
    from kubernetes.dynamic.exceptions import DynamicApiError
    from yaml import YAMLError
except ImportError:
    KUBERNETES_IMPORT_ERROR = traceback.format_exc()

Object = dict[str, Any]
Query = Sequence[tuple[str, str]]

# Seconds that a connection may take, in which its first packet is sent twice: who waits longer, waits for nobody.
_CONNECT_LIMIT = 2.0

# API versions of the kinds one asks for most; others are named with theirs.
API_VERSIONS = {
    "ConfigMap": "v1",
    "CronJob": "batch/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "APIService": "apiregistration.k8s.io/v1",
    "DaemonSet": "apps/v1",
    "Deployment": "apps/v1",
    "Job": "batch/v1",
    "Namespace": "v1",
    "Node": "v1",
    "PersistentVolume": "v1",
    "PersistentVolumeClaim": "v1",
    "Pod": "v1",
    "ReplicaSet": "apps/v1",
    "Secret": "v1",
    "Service": "v1",
    "StatefulSet": "apps/v1",
}


class KubernetesError(Exception):
    """Why there is no answer.

    ``final`` when asking again can't help; ``absent`` when the object, ``unserved`` when its kind does not exist.
    """

    def __init__(self, message: str, *, final: bool = False, absent: bool = False, unserved: bool = False) -> None:
        super().__init__(message)
        self.final = final
        self.absent = absent
        self.unserved = unserved


@dataclasses.dataclass(frozen=True)
class Target:
    """Objects of one kind: one by name, or all that match. No namespace: all of them, or an object without one."""

    kind: str
    api_version: str
    namespace: str | None = None
    name: str | None = None
    label_selector: str | None = None

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace and self.name else self.name
        if name:
            return f"{self.kind} {name}"
        which = f" that match {self.label_selector}" if self.label_selector else ""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.kind} objects{which}{where}"


class _NoDiscovery:
    """Stands in for the client's discovery: see this file's docstring."""

    def __init__(self, api: Any, cache_file: str | None) -> None:
        """Take what the client hands over, and ask for nothing."""


class KubernetesApi:
    """One cluster, as one context of a kubeconfig sees it. ``timeout``: seconds for a request.

    ``until``, where a method takes it, is the moment of the monotonic clock when the answer has to be there instead.
    ``end`` is the one by which all of them have to be there, too.
    """

    def __init__(self, kubeconfig: str | None = None, context: str | None = None, timeout: float = 5.0) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._timeout = timeout
        self.end = math.inf
        self._lock = threading.Lock()
        self._where = f"kubeconfig {kubeconfig or 'the default one'}"
        self._client: Any = None
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}

    def by(self, end: float) -> KubernetesApi:
        """Return the same cluster to somebody all of whose answers have to be there by a moment, too."""
        view = copy.copy(self)
        view.end = min(end, self.end)
        return view

    def objects(self, target: Target, until: float | None = None) -> list[Object]:
        """Return the objects of a target; one that has a name and does not exist is a KubernetesError."""
        path = self._path(target, until)
        if target.name:
            try:
                found = self.get(f"{path}/{quote(target.name, safe='')}", until=until)
                return [{"kind": target.kind, "apiVersion": target.api_version, **found}]
            except KubernetesError as exc:
                if exc.absent:
                    raise KubernetesError(f"{target} does not exist", absent=True) from None
                raise
        query = [("labelSelector", target.label_selector)] if target.label_selector else []
        # Items of a list do not repeat their kind.
        items = self.get(path, query, until).get("items") or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise KubernetesError(f"{path}: the API server's answer is not a list of objects")
        return [{"kind": target.kind, "apiVersion": target.api_version, **item} for item in items]

    def warnings(self, namespace: str) -> list[Object]:
        """Return a namespace's warning events, the oldest first."""
        events = self.get(f"/api/v1/namespaces/{namespace}/events", [("fieldSelector", "type=Warning")]).get("items")
        return sorted(events or [], key=last_seen)

    def log(self, namespace: str, pod: str, container: str, lines: int, *, previous: bool = False) -> list[str]:
        """Return a container's last log lines, or those of the one that ran before it."""
        query = [("container", container), ("tailLines", str(lines)), ("limitBytes", "16384")]
        if previous:
            query.append(("previous", "true"))
        return (
            self._request(f"/api/v1/namespaces/{namespace}/pods/{pod}/log", query).decode(errors="replace").splitlines()
        )

    def get(self, path: str, query: Query = (), until: float | None = None) -> Object:
        """Return the object at a path of the API."""
        return self._answer(path, self._request(path, query, until))

    def send(self, method: str, path: str, body: Object | None = None) -> Object:
        """Have the API server post, put or delete an object, and return what it answers."""
        return self._answer(path, self._request(path, (), method=method, body=body))

    @staticmethod
    def _answer(path: str, data: bytes) -> Object:
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            raise KubernetesError(f"{path}: the API server's answer is not JSON: {data[:80]!r}") from None
        if not isinstance(answer, dict):
            raise KubernetesError(f"{path}: the API server's answer is not an object")
        return answer

    def _path(self, target: Target, until: float | None) -> str:
        version = target.api_version
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        with self._lock:
            known = self._resources.get(version)
        if known is None or target.kind not in known:
            known = self._discover(root, version, until)
        if target.kind not in known:
            raise KubernetesError(f"the API server knows no kind {target.kind} in {version}", unserved=True)
        plural, namespaced = known[target.kind]
        namespace = quote(target.namespace or ("default" if target.name else ""), safe="")
        return f"{root}/namespaces/{namespace}/{plural}" if namespaced and namespace else f"{root}/{plural}"

    def _discover(self, root: str, version: str, until: float | None) -> dict[str, tuple[str, bool]]:
        try:
            listed = self.get(root, until=until).get("resources") or []
        except KubernetesError as exc:
            if exc.absent:
                raise KubernetesError(f"the API server does not serve {version}", unserved=True) from None
            raise
        try:
            known = {
                item["kind"]: (item["name"], bool(item.get("namespaced"))) for item in listed if "/" not in item["name"]
            }
        except (AttributeError, LookupError, TypeError):
            raise KubernetesError(f"{root}: the API server's answer is not a list of kinds") from None
        with self._lock:
            self._resources[version] = known
        return known

    def _request(
        self, path: str, query: Query, until: float | None = None, *, method: str = "get", body: Object | None = None
    ) -> bytes:
        now = time.monotonic()
        if self.end <= now:
            raise KubernetesError(f"{self._where}: no time was left to ask for {path}")
        limit = min(self._timeout if until is None else max(0.1, until - now), self.end - now)
        try:
            # The client's limit is one of each step: it knows none of names, of programs that give a token, nor of a
            # server that sends a byte now and then. Its own is longer, so that it can say at which step it was.
            return within(limit + 0.2, lambda: self._ask(path, query, limit, method, body))
        except TimeoutError:
            where = f"the API server {self._client.configuration.host}" if self._client else self._where
            raise KubernetesError(f"{where} did not answer within {limit:.3g} s") from None

    def _ask(self, path: str, query: Query, limit: float, method: str, body: Object | None) -> bytes:
        api = self._connected()
        try:
            response = api.request(
                method,
                path,
                body=body,
                query_params=list(query),
                serialize=False,
                _request_timeout=(min(limit, _CONNECT_LIMIT), limit),
            )
            data: bytes = response.data
            return data
        except DynamicApiError as exc:
            if not exc.status:
                # The client's way to say that there was no answer, with the TLS error as the reason.
                raise KubernetesError(_unreachable(api, " ".join(str(exc.reason).split()))) from None
            raise KubernetesError(
                f"the API server answers {exc.status} {exc.reason}: {_message(exc)}", absent=exc.status == 404
            ) from None
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as exc:
            raise KubernetesError(_unreachable(api, _cause(exc))) from None

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Any:
        if KUBERNETES_IMPORT_ERROR:
            raise KubernetesError("the Python library kubernetes is missing", final=True)
        # The client's functions are not typed.
        load: Any = config.load_kube_config
        connect: Any = DynamicClient
        settings = client.Configuration()
        # Those of the environment: they lead out, and an API server of the sandbox's is near.
        settings.proxy = None
        try:
            load(
                config_file=self._kubeconfig,
                context=self._context,
                client_configuration=settings,
                persist_config=False,
            )
            # Whoever waits asks again; the library would, too, and say less of why.
            settings.retries = False
            return connect(client.ApiClient(configuration=settings), discoverer=_NoDiscovery)
        except (config.ConfigException, urllib3.exceptions.HTTPError, OSError, ValueError, YAMLError) as exc:
            raise KubernetesError(f"{self._where}: {' '.join(str(exc).split())}", final=True) from None
        except (AttributeError, LookupError, TypeError, RecursionError) as exc:
            # What the reader runs into where a list stands for a mapping, or a number for a text.
            words = " ".join(str(exc).split())
            raise KubernetesError(f"{self._where}: is not a kubeconfig: {words}", final=True) from None


def last_seen(event: Object) -> str:
    """Return when an event was seen last, in UTC as ISO 8601 (which sorts); empty when it does not say."""
    series = event.get("series") or {}
    seen = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return str(seen or event.get("firstTimestamp") or "")


def _unreachable(api: Any, why: str) -> str:
    return f"the API server {api.configuration.host} can't be reached: {why}"


def _message(exc: Any) -> str:
    """Return what the API server says of an error: the message of the Status that it sends."""
    body = exc.body if isinstance(exc.body, str) else (exc.body or b"").decode(errors="replace")
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200]


def _cause(exc: BaseException) -> str:
    """Return the words of the system's error below those of the libraries."""
    link: BaseException | None = exc
    while link is not None:
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        link = link.__cause__ or link.__context__
    return str(exc)
