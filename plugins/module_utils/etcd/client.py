# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How etcd is asked, by etcdctl. Runs on a host that has the client's certificate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# Options of modules that ask etcd; documented by the fragment etcd_client.
CLIENT_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "endpoint": {"type": "str", "default": "https://127.0.0.1:2379"},
    "ca": {"type": "path", "required": True},
    "certificate": {"type": "path", "required": True},
    "key": {"type": "path", "required": True, "no_log": False},
    "etcdctl": {"type": "path", "default": "/usr/local/bin/etcdctl"},
}


@dataclass(frozen=True)
class Client:
    """Whom to ask, and who asks. ``patience`` is how many seconds an answer may take."""

    endpoint: str
    ca: str
    certificate: str
    key: str
    etcdctl: str = "etcdctl"
    patience: float = 5.0

    def command(self, *arguments: str) -> list[str]:
        """Return an etcdctl command line that answers in JSON."""
        return [
            self.etcdctl,
            f"--endpoints={self.endpoint}",
            f"--cacert={self.ca}",
            f"--cert={self.certificate}",
            f"--key={self.key}",
            f"--dial-timeout={min(2.0, self.patience):g}s",
            f"--command-timeout={self.patience:g}s",
            "--write-out=json",
            *arguments,
        ]


def client_of(params: Mapping[str, Any], patience: float) -> Client:
    """Return the client that a module's parameters name."""
    return Client(**{name: params[name] for name in CLIENT_OPTIONS}, patience=patience)
