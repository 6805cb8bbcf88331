#!/usr/bin/python3
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the certificates in files and kubeconfigs end, and how that is told; no Ansible in here.

Runs with the cryptography of Debian bookworm (38), which reads one certificate of a file and not all of them. Hosts
have this file as a program of its own, which writes metrics for node_exporter's textfile collector:

    certificate_expiry.py FILE PATTERN...
"""

from __future__ import annotations

import base64
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

NO_RENEWAL = "No run renews a CA: make the sandbox anew before."
DAY = timedelta(days=1)
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Ending:
    """A certificate and its end. One with a problem can't be read: nothing else is known of it."""

    path: str
    name: str = ""
    authority: bool = False
    end: datetime | None = None
    problem: str = ""

    def describe(self, now: datetime, renew_before: timedelta) -> dict[str, Any]:
        """Shape it as a module's result: `days_left` are whole days, negative from the moment at which it ended."""
        return {
            "path": self.path,
            "name": self.name,
            "authority": self.authority,
            "not_after": f"{self.end:%Y-%m-%dT%H:%M:%SZ}" if self.end else "",
            "days_left": (self.end - now) // DAY if self.end else 0,
            "due": self.end is None or self.end - now < renew_before,
            "problem": self.problem,
        }


def inspect(patterns: Sequence[str], renew_before: timedelta) -> list[dict[str, Any]]:
    """Describe the certificates of all files that patterns of the shell match; what is not there is left out."""
    now = datetime.now(UTC)
    return [ending.describe(now, renew_before) for ending in _endings(patterns)]


def metrics(patterns: Sequence[str]) -> str:
    """Write the same in the text format of Prometheus: moments in seconds since 1970, and files that can't be read.

    Of certificates with one name in one file, such as bundles of CAs, the one that ends first is told.
    """
    ends: dict[str, float] = {}
    unreadable = []
    for ending in _endings(patterns):
        if ending.end is None:
            unreadable.append(_labels(path=ending.path))
            continue
        labels = _labels(path=ending.path, name=ending.name, authority=str(ending.authority).lower())
        ends[labels] = min(ends.get(labels, math.inf), ending.end.timestamp())
    return "".join(
        [
            "# HELP host_certificate_not_after_timestamp_seconds When a certificate of this host ends.\n",
            "# TYPE host_certificate_not_after_timestamp_seconds gauge\n",
            *(f"host_certificate_not_after_timestamp_seconds{labels} {end:.0f}\n" for labels, end in ends.items()),
            "# HELP host_certificate_unreadable Files that should have a certificate, which can't be read.\n",
            "# TYPE host_certificate_unreadable gauge\n",
            *(f"host_certificate_unreadable{labels} 1\n" for labels in dict.fromkeys(unreadable)),
        ]
    )


def not_after(certificate: x509.Certificate) -> datetime:
    """Last moment of validity, with its time zone; older releases of cryptography give it without."""
    moment: datetime | None = getattr(certificate, "not_valid_after_utc", None)
    if moment is None:
        moment = certificate.not_valid_after.replace(tzinfo=UTC)
    return moment


def _endings(patterns: Sequence[str]) -> Iterator[Ending]:
    for path in sorted({path for pattern in patterns for path in _matching(pattern)}):
        yield from _of_file(path)


def _labels(**values: str) -> str:
    pairs = (
        '{}="{}"'.format(name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for name, value in values.items()
    )
    return f"{{{','.join(pairs)}}}"


def table(results: Mapping[str, Mapping[str, Any]], authority_days: int, first: int = 5) -> list[str]:
    """Write lines on the certificates of hosts: host → result of the module ``host_certificates_info``.

    The `first` that end, and all that are due; each CA once, though it lies on many hosts; then warnings, also of hosts
    that could not be looked at. A CA is warned of when it ends within `authority_days`: what it signs then outlives it.
    """
    rows = [{**item, "host": host} for host, result in results.items() for item in result.get("certificates", [])]
    rows.sort(key=lambda row: (row["not_after"], row["host"], row["path"]))
    own = [row for row in rows if not row["authority"]]
    authorities = list({(row["name"], row["not_after"]): row for row in rows if row["authority"]}.values())
    due = [row for row in own if row["due"]]
    ending = [row for row in authorities if row["days_left"] < authority_days]
    return [
        *(f"{_end(row)}  {row['host']} {row['path']}" for row in own[: max(first, len(due))]),
        *(f"{_end(row)}  CA {row['name']}" for row in authorities),
        *(f"WARNING: {row['host']} {row['path']}: {_fate(row)}; the next run renews it." for row in due),
        *(f"WARNING: the CA {row['name']}: {_fate(row)}, and what it signed with it. {NO_RENEWAL}" for row in ending),
        *(
            f"WARNING: {host} could not be looked at: {result.get('msg', '')}"
            for host, result in results.items()
            if "certificates" not in result
        ),
    ]


def _end(row: Mapping[str, Any]) -> str:
    if row["problem"]:
        return "unreadable".rjust(10) + " " * 12
    return f"{row['days_left']:>5} days  {row['not_after'][:10]}"


def _fate(row: Mapping[str, Any]) -> str:
    if row["problem"]:
        return str(row["problem"])
    return f"it {'ends' if row['days_left'] >= 0 else 'ended'} on {row['not_after'][:10]}"


def _matching(pattern: str) -> Iterator[str]:
    path = Path(pattern)
    for found in Path(path.anchor).glob(str(path.relative_to(path.anchor))):
        yield str(found)


def _of_file(path: str) -> Iterator[Ending]:
    """Read a PEM file, or a kubeconfig: its certificates stand in it, or in a file that it names."""
    try:
        content = Path(path).read_bytes()
        blocks = _CERTIFICATE.findall(content) or [*_of_kubeconfig(Path(path), content)]
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        yield Ending(path, problem=f"it can't be read: {error}")
        return
    for block in blocks:
        try:
            certificate = x509.load_pem_x509_certificate(block)
        except ValueError:
            yield Ending(path, problem="its certificate can't be read")
            continue
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        name = str(names[0].value) if names else certificate.subject.rfc4514_string()
        yield Ending(path, name, _is_authority(certificate), not_after(certificate))


def _of_kubeconfig(path: Path, content: bytes) -> Iterator[bytes]:
    kubeconfig = yaml.safe_load(content)
    if not isinstance(kubeconfig, dict):
        raise TypeError("it is neither a certificate nor a kubeconfig")
    for entry in kubeconfig.get("users") or []:
        user = entry.get("user") or {}
        if "client-certificate-data" in user:
            yield base64.b64decode(user["client-certificate-data"], validate=True)
        elif "client-certificate" in user:
            named = (path.parent / user["client-certificate"]).read_bytes()
            yield (_CERTIFICATE.findall(named) or [named])[0]


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _write(path: Path, text: str) -> None:
    """Write in one step: the collector may read at any time."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o644)
    new.replace(path)


if __name__ == "__main__":
    _write(Path(sys.argv[1]), metrics(sys.argv[2:]))
