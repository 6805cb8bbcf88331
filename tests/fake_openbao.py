# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An OpenBao in memory, behind HTTP, as far as the collection asks one: seal, tokens, settings, secrets."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]
ROOT, OPERATOR = "s.root", "s.operator"


class RefusedError(Exception):
    """An answer that is an error: a status and its words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass
class FakeBao:
    """The state of one. ``operator_allowed``: whether logins succeed once their role is there."""

    shares: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    sealed: bool = True
    tokens: set[str] = field(default_factory=set)
    settings: dict[str, Object] = field(default_factory=dict)
    # Path → its versions, the first first; None where one was deleted.
    versions: dict[str, list[Object | None]] = field(default_factory=dict)
    operator_allowed: bool = True
    asked: list[tuple[str, str, Object]] = field(default_factory=list)
    root: Object = field(default_factory=dict)
    # Writes of secrets that are refused still, as after the engine was mounted.
    upgrading: int = 0

    def answer(self, method: str, path: str, token: str, body: Object) -> Object:
        """Answer a request. Raises RefusedError."""
        self.asked.append((method, path, body))
        name, query = urlsplit(path).path, parse_qs(urlsplit(path).query)
        if name.startswith(("sys/seal-status", "sys/init", "sys/unseal")):
            return self._seal(name, body)
        if self.sealed:
            raise RefusedError(503, "Vault is sealed")
        if name.startswith("sys/generate-root/"):
            return self._root(method, name, body)
        if name.endswith("/login"):
            return self._login(body)
        if token not in self.tokens:
            raise RefusedError(403, "permission denied")
        if name == "auth/token/revoke-self":
            self.tokens.discard(token)
            return {}
        return self._data(method, name, query, body)

    def _seal(self, name: str, body: Object) -> Object:
        if name == "sys/unseal":
            return self._unseal(body)
        if name == "sys/init":
            self.shares = [base64.b64encode(secrets.token_bytes(33)).decode() for _ in range(body["secret_shares"])]
            self.tokens.add(ROOT)
            return {"keys_base64": self.shares, "root_token": ROOT}
        return {"initialized": bool(self.shares), "sealed": self.sealed}

    def _login(self, body: Object) -> Object:
        if not self.operator_allowed or f"auth/kubernetes/role/{body['role']}" not in self.settings:
            raise RefusedError(400, "invalid role name")
        self.tokens.add(OPERATOR)
        return {"request_id": "1", "auth": {"client_token": OPERATOR}}

    def _unseal(self, body: Object) -> Object:
        if body.get("reset"):
            self.given = []
            return {"sealed": self.sealed}
        self.given.append(body["key"])
        if len(self.given) == 3:
            if not set(self.given) <= set(self.shares):
                self.given = []
                raise RefusedError(400, "unseal failed, invalid key")
            self.sealed = False
        return {"sealed": self.sealed}

    def _root(self, method: str, name: str, body: Object) -> Object:
        if method == "DELETE":
            self.root = {}
            return {}
        if name.endswith("attempt"):
            self.root = {"nonce": "n", "otp": "o" * len(ROOT), "keys": []}
            return {"nonce": "n", "otp": self.root["otp"]}
        self.root["keys"].append(body["key"])
        if len(self.root["keys"]) < 3:
            return {"complete": False}
        if not set(self.root["keys"]) <= set(self.shares):
            raise RefusedError(400, "root generation failed")
        self.tokens.add(ROOT)
        mixed = bytes(ord(one) ^ ord(other) for one, other in zip(ROOT, self.root["otp"], strict=True))
        return {"complete": True, "encoded_token": base64.b64encode(mixed).decode().rstrip("=")}

    def _data(self, method: str, name: str, query: dict[str, list[str]], body: Object) -> Object:
        if not name.startswith(("secret/data/", "secret/metadata/")):
            if method == "GET":
                if name not in self.settings:
                    raise RefusedError(
                        400 if name.startswith("sys/mounts") else 404, "No secret engine mount at secret/"
                    )
                return {"request_id": "1", "data": self.settings[name]}
            self.settings[name] = body
            return {}
        path = name.split("/", 2)[2]
        held = self.versions.get(path, [])
        if name.startswith("secret/metadata/"):
            if not held:
                raise RefusedError(404, "")
            return {"request_id": "1", "data": {"current_version": len(held)}}
        if method == "GET":
            number = int(query.get("version", [str(len(held))])[0])
            if not 0 < number <= len(held) or held[number - 1] is None:
                raise RefusedError(404, "")
            return {"request_id": "1", "data": {"data": held[number - 1], "metadata": {"version": number}}}
        if self.upgrading:
            self.upgrading -= 1
            raise RefusedError(400, "Upgrading from non-versioned to versioned data. This backend will be unavailable")
        if body["options"]["cas"] != len(held):
            raise RefusedError(400, "check-and-set parameter did not match the current version")
        self.versions[path] = [*held, body["data"]]
        return {"request_id": "1", "data": {"version": len(held) + 1}}


def handler(bao: FakeBao) -> type[BaseHTTPRequestHandler]:
    """Serve it."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            path = self.path.removeprefix("/v1/")
            try:
                answer = bao.answer(self.command, path, self.headers.get("X-Vault-Token") or "", body)
                status = 200 if answer else 204
            except RefusedError as error:
                status, answer = error.status, {"errors": [str(error)] if str(error) else []}
            content = json.dumps(answer).encode() if answer else b""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self._answer
            raise AttributeError(name)

    return Handler
