# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An OpenBao of the cluster, reached by `kubectl port-forward` and asked with hvac, the client of Vault's API.

The forward ends in the pod itself: neither a policy nor a Service has to let anybody in from outside, and TLS goes from
the controller to OpenBao.
"""

from __future__ import annotations

import os
import re
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.cicd.sandbox.plugins.module_utils.host.bounded import within
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import for_own_hosts

HVAC_IMPORT_ERROR: str | None = None
try:
    import hvac
    import requests
    from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, VaultError
except ImportError:
    HVAC_IMPORT_ERROR = traceback.format_exc()

# What it answers (400) of an engine or a method that is not there.
_NOT_MOUNTED = re.compile(
    r"no (secret|auth) engine mount|no auth engine|no secret engine|no handler for route", re.IGNORECASE
)
_FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")

Object = dict[str, Any]


class BaoError(Exception):
    """Why there is no answer.

    ``denied`` where OpenBao does not let in whoever asks, ``final`` where asking again can't help.
    """

    def __init__(self, message: str, *, denied: bool = False, final: bool = False) -> None:
        super().__init__(message)
        self.denied = denied
        self.final = final


class Bao(Protocol):
    """What is asked of an OpenBao. Paths are those of its API, without ``/v1/``. Each raises BaoError."""

    def read(self, path: str) -> Object | None:
        """Return the data at a path; None where there is none."""

    def write(self, path: str, data: Object) -> Object:
        """Write data, and return what is answered: whole, with ``data`` or ``auth`` in it."""

    def delete(self, path: str) -> None:
        """Delete what is at a path."""

    def become(self, token: str) -> None:
        """Ask with a token from now on; without one where it is empty."""


@dataclass(frozen=True)
class Place:
    """Where it is: a pod of a namespace, and its port."""

    kubectl: str
    kubeconfig: str
    namespace: str
    pod: str
    port: int


class Server:
    """An OpenBao at an address. ``ca_path``: the authority of its certificate; ``timeout``: seconds for an answer."""

    def __init__(self, url: str, ca_path: str, timeout: float = 20) -> None:
        # Neither proxies of the environment, nor a token or a namespace of another one.
        session = requests.Session()
        session.trust_env = False
        session.verify = ca_path
        self._client = hvac.Client(url=url, token="", verify=ca_path, timeout=timeout, session=session, namespace="")

    def read(self, path: str) -> Object | None:
        """Return the data at a path; None where there is none."""
        try:
            answer = self._request("get", path)
        except InvalidPath:
            return None
        except InvalidRequest as error:
            if _NOT_MOUNTED.search(str(error)):
                return None
            raise BaoError(f"{path}: {_words(error)}") from None
        data: Object = answer.get("data") or {}
        # What is asked without a token is not wrapped.
        return data if "data" in answer and "request_id" in answer else answer

    def write(self, path: str, data: Object) -> Object:
        """Write data, and return what is answered."""
        try:
            return self._request("post", path, data)
        except (InvalidPath, InvalidRequest) as error:
            raise BaoError(f"{path}: {_words(error)}") from None

    def delete(self, path: str) -> None:
        """Delete what is at a path."""
        try:
            self._request("delete", path)
        except (InvalidPath, InvalidRequest) as error:
            raise BaoError(f"{path}: {_words(error)}") from None

    def become(self, token: str) -> None:
        """Ask with a token from now on."""
        self._client.token = token

    def _request(self, method: str, path: str, body: Object | None = None) -> Object:
        try:
            answer = self._client.adapter.request(method, f"/v1/{path}", **({} if body is None else {"json": body}))
        except (InvalidPath, InvalidRequest):
            raise
        except Forbidden as error:
            raise BaoError(f"{path}: {_words(error)}", denied=True) from None
        except (VaultError, requests.exceptions.RequestException) as error:
            raise BaoError(f"{path}: {_words(error)}") from None
        # Without content, the client returns the response itself.
        return answer if isinstance(answer, dict) else {}


def _words(error: Exception) -> str:
    """What OpenBao or the client says, in one line, without the address of the forward, which is another each time."""
    return " ".join(str(error).split(", on ")[0].split())


@contextmanager
def reached(place: Place, ca_path: str, timeout: float = 20) -> Iterator[Server]:
    """Reach the OpenBao of a pod for a while. Raises BaoError with kubectl's words where it can't be."""
    argv = [place.kubectl, f"--kubeconfig={place.kubeconfig}", f"--namespace={place.namespace}", "port-forward"]
    argv += ["--address=127.0.0.1", f"pod/{place.pod}", f":{place.port}"]
    environment = for_own_hosts(os.environ)
    try:
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment
        )
    except OSError as error:
        raise BaoError(f"{place.kubectl} can't be started: {error.strerror}") from None
    with process:
        try:
            yield Server(f"https://127.0.0.1:{_port(process, place, timeout)}", ca_path, timeout)
        finally:
            process.kill()


def _port(process: subprocess.Popen[str], place: Place, timeout: float) -> int:
    """The port of the loopback that kubectl forwards from."""
    where = f"pod {place.namespace}/{place.pod} can't be reached"
    if process.stdout is None or process.stderr is None:
        raise BaoError(f"{where}: kubectl has no output")
    try:
        line = within(timeout, process.stdout.readline)
    except TimeoutError:
        raise BaoError(f"{where}: kubectl says nothing for {timeout:g} s") from None
    found = _FORWARDED.match(line)
    if not found:
        process.kill()
        raise BaoError(f"{where}: {' '.join((line + process.stderr.read()).split()) or 'kubectl ended'}")
    return int(found.group(1))
