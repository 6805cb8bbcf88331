#!/usr/bin/env python3
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the certificate of the pages: has certbot ask for it where it is due, and gives it to those who serve it.

A program of its own on the infra host (Debian's Python, no Ansible in here), for the role certificates, for a timer of
systemd and for certbot's deploy hook. An authority counts what it is asked for: it is asked for nothing that is still
good. What it refuses is kept in its own words, and the certificate that is there goes on being served.

Settings are a JSON file::

    {"names": ["sandbox.localhost", …], "renew_before_days": 30, "authority": "https://127.0.0.1:14000/dir",
     "certbot": ["certbot", "--config=…"], "directory": certbot's own, "log": its log, "state": "/var/lib/…/state.json",
     "authority_ca": who the authority's own server is trusted by, "" for the system's trust store,
     "root_url": where the authority tells its root, "" where it does not,
     "private": whether the authority is the sandbox's own, "redirect": whether http leads to https,
     "haproxy": {"certificate": …, "roots": …, "redirected": …, "socket": "/run/haproxy/admin.sock"},
     "cluster": {"server": …, "ca": …, "token": file, "namespace": …, "secret": …} or null}
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import AuthorityInformationAccessOID

LINEAGE = "pages"
DAY = timedelta(days=1)
SYSTEM_TRUST = "/etc/ssl/certs/ca-certificates.crt"
# Tells certbot's deploy hook that who runs certbot delivers by itself.
HOLDS_LOCK = "CICD_SANDBOX_RENEWS"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
_CHALLENGE = re.compile(r"Domain:\s*(\S+)\s+Type:\s*(\S+)\s+Detail:\s*(.+?)(?=\n\s*\n|\n\s*Domain:|\Z)", re.DOTALL)
_UNEXPECTED = re.compile(
    r"An unexpected error occurred:\s*(.+?)(?=\nAsk for help|\nPlease see the logfile|\Z)", re.DOTALL
)
# How certbot's log has an error of the authority's: kind, what that kind is, the detail.
_PROBLEM = re.compile(r"acme\.messages\.Error: urn:ietf:params:acme:error:(\S+) :: (.+?)(?: :: (.+))?$", re.MULTILINE)
_FORGOTTEN = re.compile(r"accountDoesNotExist|account that does not exist", re.IGNORECASE)
_NOISE = re.compile(r"^(Saving debug log|Ask for help|See the logfile|Please see|Account registered|Requesting a cert)")
# Runs a command line with more environment; gives its exit code and all it said.
Run = Callable[[Sequence[str], Mapping[str, str]], tuple[int, str]]


class RenewalError(Exception):
    """Why it did not work, for a person."""


@dataclass(frozen=True)
class Certificate:
    """What certbot has: PEM texts, and what the leaf says."""

    chain: str
    key: str
    names: frozenset[str]
    begin: datetime
    end: datetime
    serial: str

    @property
    def intermediates(self) -> list[str]:
        """What stands between leaf and root, the leaf's issuer first."""
        return _CERTIFICATE.findall(self.chain)[1:]

    @property
    def leaf(self) -> str:
        """The certificate itself."""
        return str(_CERTIFICATE.findall(self.chain)[0])


def read_certificate(directory: Path) -> Certificate | None:
    """What certbot keeps in its directory; None where it has none, or none that can be read."""
    live = directory / "live" / LINEAGE
    try:
        chain, key = (live / "fullchain.pem").read_text(), (live / "privkey.pem").read_text()
        leaf = x509.load_pem_x509_certificate(chain.encode())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return None
    begin, end = (_moment(leaf, edge) for edge in ("not_valid_before", "not_valid_after"))
    known = frozenset(names.get_values_for_type(x509.DNSName))
    return Certificate(chain, key, known, begin, end, f"{leaf.serial_number:x}")


def _moment(leaf: x509.Certificate, edge: str) -> datetime:
    # Debian bookworm's cryptography (38) knows times without a zone only, a current one warns of them.
    moment: datetime = getattr(leaf, f"{edge}_utc", None) or getattr(leaf, edge).replace(tzinfo=UTC)
    return moment


def authority_of(directory: Path) -> str:
    """Whom certbot had the certificate from: the address of its directory; empty where that is not known."""
    try:
        text = (directory / "renewal" / f"{LINEAGE}.conf").read_text()
    except OSError:
        return ""
    found = re.search(r"^server\s*=\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else ""


def why_due(
    certificate: Certificate | None, settings: Mapping[str, Any], authority: str, now: datetime, *, forced: bool = False
) -> str:
    """Why the authority has to be asked; empty where all is good.

    A name that is no longer wanted is no reason. A certificate that is valid for less than three times
    renew_before_days is renewed in its last third.
    """
    if certificate is None:
        return "there is no certificate yet"
    if authority and authority != settings["authority"]:
        return f"the certificate is from {authority}"
    missing = sorted(set(settings["names"]) - certificate.names)
    if missing:
        return f"the certificate is not for {', '.join(missing)}"
    before = min(settings["renew_before_days"] * DAY, (certificate.end - certificate.begin) / 3)
    if certificate.end - now < before:
        return f"the certificate ends on {certificate.end:%Y-%m-%d}"
    return "it was asked for" if forced else ""


def authoritys_words(said: str, log: str, authority: str) -> str:
    """The authority's refusal out of what certbot said and logged, in a line: which name, which problem, the detail."""
    challenges = [(name, kind, " ".join(detail.split())) for name, kind, detail in _CHALLENGE.findall(said)]
    if challenges:
        return "; ".join(f"{name}: {kind}: {detail}" for name, kind, detail in challenges)
    # Debian bookworm's certbot stumbles over such errors before it says them ("can't set attribute").
    problems = _PROBLEM.findall(log)
    if problems:
        kind, what, detail = problems[-1]
        return f"{kind}: {detail or what}"
    unexpected = _UNEXPECTED.search(said)
    if unexpected:
        words = " ".join(unexpected[1].split())
        if re.search(r"Connection(Error| refused)|Max retries exceeded|timed out|NameResolution", words):
            return f"{authority} does not answer: {_last_reason(words)}"
        return words
    lines = [line.strip() for line in said.splitlines() if line.strip() and not _NOISE.match(line.strip())]
    return " ".join(lines[-3:]) or "certbot gave no reason"


def _last_reason(words: str) -> str:
    """The innermost reason of an error of Python's requests."""
    reasons: list[str] = re.findall(r"\[Errno -?\d+\] ([A-Za-z][^')(]*)", words)
    return reasons[-1].strip() if reasons else words.rpartition(": ")[2][-200:].strip()


class Keeper:
    """Keeps the certificate that settings describe."""

    def __init__(self, settings: Mapping[str, Any], run: Run) -> None:
        self._settings = settings
        self._run = run
        self._directory = Path(settings["directory"])
        self._state = Path(settings["state"])
        self._changed = False
        # Whether HAProxy was told to read its files, which it does at its leisure.
        self._reloading = False
        try:
            self._before: dict[str, Any] = json.loads(self._state.read_text())
        except (OSError, ValueError):
            self._before = {}

    def keep(self, now: datetime, *, forced: bool = False, check: bool = False, ask: bool = True) -> dict[str, Any]:
        """Ask where it is due, deliver what is there, remember and return what is known.

        check: change nothing, ask nobody. ask: False only delivers.
        """
        certificate = read_certificate(self._directory)
        reason = why_due(certificate, self._settings, authority_of(self._directory), now, forced=forced) if ask else ""
        problem = "" if ask else str(self._before.get("problem", ""))
        if reason and not check:
            try:
                self._ask()
            except RenewalError as error:
                problem = str(error)
            else:
                self._changed = True
                certificate = read_certificate(self._directory)
        undelivered = self._delivered(certificate, check=check) if certificate else ""
        state = {
            "names": sorted(certificate.names) if certificate else [],
            "missing": sorted(set(self._settings["names"]) - (certificate.names if certificate else set())),
            "serial": certificate.serial if certificate else "",
            "not_after": f"{certificate.end:%Y-%m-%dT%H:%M:%SZ}" if certificate else "",
            "authority": authority_of(self._directory),
            "private": self._settings["private"],
            "problem": problem,
            "undelivered": undelivered,
            "trusted": self._is_trusted(certificate) if certificate else False,
            "root": self._fingerprint(),
        }
        if not check:
            _write(self._state, json.dumps(state, indent=2) + "\n", 0o644)
        changed = self._changed or (check and bool(reason))
        asked = reason if check or not problem else ""
        days = (certificate.end - now) // DAY if certificate else 0
        return {
            **state,
            "changed": changed,
            "reason": asked,
            "days_left": days,
            "valid": bool(certificate) and days >= 0,
        }

    # --- the authority -----------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        try:
            self._certbot()
        except RenewalError as error:
            if not _FORGOTTEN.search(str(error)):
                raise
            # An authority that lost its accounts, as one without a memory does when it starts, gets a new one.
            host = urllib.parse.urlsplit(self._settings["authority"]).netloc
            shutil.rmtree(self._directory / "accounts" / host, ignore_errors=True)
            self._certbot()

    def _certbot(self) -> None:
        names = [word for name in self._settings["names"] for word in ("-d", name)]
        # What is due is said here: certbot need not think so too.
        line = [*self._settings["certbot"], "certonly", f"--cert-name={LINEAGE}", "--force-renewal"]
        environment = {HOLDS_LOCK: "1"}
        if self._settings["authority_ca"]:
            environment["REQUESTS_CA_BUNDLE"] = self._settings["authority_ca"]
        if self._settings["private"]:
            environment |= dict.fromkeys(("NO_PROXY", "no_proxy"), "*")
        log = Path(self._settings["log"])
        with contextlib.suppress(OSError):
            log.unlink()
        code, said = self._run([*line, "--renew-with-new-domains", *names], environment)
        if code:
            logged = log.read_text(errors="replace") if log.exists() else ""
            raise RenewalError(authoritys_words(said, logged, self._settings["authority"]))

    # --- the root ----------------------------------------------------------------------------------------------------

    def _is_trusted(self, certificate: Certificate) -> bool:
        """Whether the host's own trust store knows the root, as browsers do."""
        return self._verifies(certificate, None)

    def _verifies(self, certificate: Certificate, root: str | None) -> bool:
        with tempfile.TemporaryDirectory() as scratch:
            files = {"leaf": certificate.leaf, "chain": "".join(certificate.intermediates), "root": root or ""}
            paths = {name: Path(scratch) / name for name in files}
            for name, text in files.items():
                paths[name].write_text(text)
            # Another root than the one asked about proves nothing.
            trust = [f"-CAfile={paths['root']}", "-no-CApath", "-no-CAstore"] if root else []
            trust = [word for option in trust for word in option.split("=")]
            chain = ["-untrusted", str(paths["chain"])] if certificate.intermediates else []
            return self._run(["openssl", "verify", *trust, *chain, str(paths["leaf"])], {})[0] == 0

    def _root(self, certificate: Certificate) -> str:
        """The root above the certificate, PEM; empty where the authority does not tell it."""
        for url, context in self._root_addresses(certificate):
            try:
                with _direct(context).open(url, timeout=10) as answer:
                    told = answer.read()
                pem = told if b"-----BEGIN" in told else ssl.DER_cert_to_PEM_cert(told).encode()
                text = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.PEM).decode()
            except (OSError, ValueError):
                continue
            if self._verifies(certificate, text):
                return text
        return ""

    def _root_addresses(self, certificate: Certificate) -> Iterator[tuple[str, ssl.SSLContext | None]]:
        if self._settings["root_url"]:
            yield self._settings["root_url"], ssl.create_default_context(cafile=self._settings["authority_ca"] or None)
        for pem in certificate.intermediates[-1:]:
            try:
                told = x509.load_pem_x509_certificate(pem.encode()).extensions.get_extension_for_class(
                    x509.AuthorityInformationAccess
                )
            except (ValueError, x509.ExtensionNotFound):
                continue
            for item in told.value:
                if item.access_method == AuthorityInformationAccessOID.CA_ISSUERS and str(
                    item.access_location.value
                ).startswith("http://"):
                    yield str(item.access_location.value), None

    def _root_file(self) -> Path:
        return self._directory / "root.crt"

    def _fingerprint(self) -> str:
        """SHA-256 of the root that is known, as browsers show it; empty where none is."""
        try:
            pem = self._root_file().read_text()
            return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()
        except (OSError, ValueError):
            return ""

    # --- who serves it -----------------------------------------------------------------------------------------------

    def _delivered(self, certificate: Certificate, *, check: bool) -> str:
        """Give the certificate to the gateway, then to the load balancer; return what did not work."""
        problems = []
        for deliver in (self._to_roots, self._to_cluster, self._to_load_balancer, self._to_redirects):
            try:
                deliver(certificate, check)
            except (RenewalError, OSError, ValueError) as error:
                problems.append(" ".join(str(error).split()))
        return "; ".join(problems)

    def _to_roots(self, certificate: Certificate, check: bool) -> None:
        """Have the load balancer believe the gateway's next certificate before the gateway has it."""
        file, roots = self._root_file(), Path(self._settings["haproxy"]["roots"])
        known = file.read_text() if file.exists() else ""
        if check or (known and self._verifies(certificate, known) and roots.exists() and known in roots.read_text()):
            return
        trusted = self._is_trusted(certificate)
        root = self._root(certificate)
        if not root and not trusted:
            raise RenewalError("the root above the certificate is not to be had: nobody can verify it")
        if root:
            self._write(file, root, 0o644)
        # The gateway serves the earlier certificate for a moment.
        bundle = Path(SYSTEM_TRUST).read_text() if trusted and Path(SYSTEM_TRUST).exists() else ""
        if self._write(roots, root + (known if known != root else "") + bundle, 0o644):
            self._reload()

    def _to_cluster(self, certificate: Certificate, check: bool) -> None:
        cluster = self._settings["cluster"]
        if not cluster:
            return
        url = f"{cluster['server']}/api/v1/namespaces/{cluster['namespace']}/secrets/{cluster['secret']}"
        data = {
            name: base64.b64encode(text.encode()).decode()
            for name, text in (("tls.crt", certificate.chain), ("tls.key", certificate.key))
        }
        what = f"Secret {cluster['namespace']}/{cluster['secret']}"
        try:
            if (_api(cluster, "GET", url).get("data") or {}) == data:
                return
            self._changed = True
            if not check:
                _api(cluster, "PATCH", url, {"data": data})
        except urllib.error.HTTPError as error:
            words = error.read(2000).decode(errors="replace")
            with contextlib.suppress(ValueError, AttributeError):
                words = json.loads(words).get("message", words)
            raise RenewalError(f"the gateway has not got the certificate: {what}: {words}") from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise RenewalError(f"the gateway has not got the certificate: {what}: the API server: {reason}") from error

    def _to_load_balancer(self, certificate: Certificate, check: bool) -> None:
        path = Path(self._settings["haproxy"]["certificate"])
        text = certificate.chain.rstrip("\n") + "\n" + certificate.key
        if not self._write(path, text, 0o600, check=check) or check:
            return
        # A worker that is reading its files may have missed this one, and it is another one that answers at the socket.
        if self._reloading:
            self._reload()
            return
        # Without a reload: connections that stand go on, and none is refused.
        new = [] if f"{path}\n" in self._haproxy("show ssl cert") else [f"new ssl cert {path}"]
        lines = [*new, f"set ssl cert {path} <<\n{text.strip()}\n", f"commit ssl cert {path}"]
        if new:
            lines.append(f"add ssl crt-list {path.parent}/ {path}")
        for line in lines:
            said = self._haproxy(line)
            if not re.search(r"Success!|created|updated|New empty", said):
                self._reload()
                return

    def _to_redirects(self, certificate: Certificate, check: bool) -> None:
        """Names that http leads to https for: none while visitors would be warned of an authority that nobody knows."""
        leads = self._settings["redirect"] and (self._settings["private"] or self._is_trusted(certificate))
        text = "".join(f"{name} 1\n" for name in sorted(certificate.names) if leads)
        if self._write(Path(self._settings["haproxy"]["redirected"]), text, 0o644, check=check) and not check:
            self._reload()

    def _haproxy(self, line: str) -> str:
        """What HAProxy's runtime API says; empty where it does not run."""
        said = b""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(10)
                connection.connect(self._settings["haproxy"]["socket"])
                connection.sendall(f"{line}\n".encode())
                while chunk := connection.recv(65536):
                    said += chunk
        except OSError:
            return ""
        return said.decode(errors="replace")

    def _reload(self) -> None:
        code, said = self._run(["systemctl", "try-reload-or-restart", "haproxy"], {})
        if code:
            raise RenewalError(f"HAProxy has not read the certificate: {' '.join(said.split())}")
        self._reloading = True

    def _write(self, path: Path, text: str, mode: int, *, check: bool = False) -> bool:
        """Write a file where it differs; return whether it did."""
        with contextlib.suppress(OSError):
            if path.read_text() == text:
                return False
        self._changed = True
        if not check:
            _write(path, text, mode)
        return True


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".new")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(name).chmod(mode)
    Path(name).replace(path)


def _direct(context: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """Ask without a proxy where a context is given: what is asked then is this host's or the sandbox's own."""
    handlers: list[urllib.request.BaseHandler] = []
    if context:
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
    return urllib.request.build_opener(*handlers)


def _api(cluster: Mapping[str, str], method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {Path(cluster['token']).read_text().strip()}", "Accept": "application/json"}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/merge-patch+json"
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    with _direct(ssl.create_default_context(cafile=cluster["ca"])).open(request, timeout=15) as answer:
        told: dict[str, Any] = json.loads(answer.read())
    return told


def run_command(line: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command line for ten minutes at most."""
    try:
        done = subprocess.run(
            line,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=600,
            env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        )
    except subprocess.TimeoutExpired:
        return 1, f"{line[0]} had not ended after 10 minutes"
    except OSError as error:
        return 1, str(error)
    return done.returncode, done.stdout


def main(words: Sequence[str] | None = None, run: Run = run_command) -> int:
    """Keep the certificate; print what is known as JSON. Exit code 1 where there is no valid one."""
    parser = argparse.ArgumentParser(description="Keep the certificate of the sandbox's pages.")
    parser.add_argument("settings", type=Path)
    parser.add_argument("--check", action="store_true", help="change nothing, ask nobody")
    parser.add_argument("--force", action="store_true", help="renew what is still good; the authority counts it")
    parser.add_argument("--deliver", action="store_true", help="only give what is there to those who serve it")
    arguments = parser.parse_args(words)
    if arguments.deliver and os.environ.get(HOLDS_LOCK):
        return 0
    settings = json.loads(arguments.settings.read_text())
    Path(settings["state"]).parent.mkdir(parents=True, exist_ok=True)
    with Path(settings["state"]).with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keeper = Keeper(settings, run)
        known = keeper.keep(datetime.now(UTC), forced=arguments.force, check=arguments.check, ask=not arguments.deliver)
    sys.stdout.write(json.dumps(known, indent=2) + "\n")
    return 0 if known["valid"] else 1


if __name__ == "__main__":
    sys.exit(main())
