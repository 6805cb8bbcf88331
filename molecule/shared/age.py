"""Gives certificates of a host another end, as if time had passed. Runs on the host, which has python3-cryptography.

Reads JSON from standard input: `authorities`, a list of {"certificate", "key"} in PEM; `paths`, patterns of the shell
for PEM files and kubeconfigs; `days` until the end, negative for the past. Keys, names, usages and everything else stay
as they are, files keep owner and mode; certificates of CAs are left alone. Says what it changed, and fails where that
is nothing.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
DATA = re.compile(rb"(?<=client-certificate-data: )\S+")


class Authorities:
    """CAs that sign a certificate once more, with another end."""

    def __init__(self, pairs: list[dict[str, str]], days: float) -> None:
        self.keys: dict[x509.Name, Any] = {}
        for pair in pairs:
            subject = x509.load_pem_x509_certificate(pair["certificate"].encode()).subject
            self.keys[subject] = serialization.load_pem_private_key(pair["key"].encode(), password=None)
        self.end = datetime.now(UTC) + timedelta(days=days)

    def again(self, pem: bytes) -> bytes:
        old = x509.load_pem_x509_certificate(pem)
        if old.issuer == old.subject:
            return pem
        builder = (
            x509.CertificateBuilder()
            .subject_name(old.subject)
            .issuer_name(old.issuer)
            .public_key(old.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.end - timedelta(days=365))
            .not_valid_after(self.end)
        )
        for extension in old.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        return builder.sign(self.keys[old.issuer], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def main() -> None:
    asked = json.load(sys.stdin)
    authorities = Authorities(asked["authorities"], asked["days"])
    changed = []
    for path in sorted({path for pattern in asked["paths"] for path in Path("/").glob(pattern.lstrip("/"))}):
        before = path.read_bytes()
        after = PEM.sub(lambda found: authorities.again(found[0]), before)
        after = DATA.sub(lambda found: base64.b64encode(authorities.again(base64.b64decode(found[0]))), after)
        if after != before:
            path.write_bytes(after)
            changed.append(str(path))
    if not changed:
        sys.exit("no certificate was found")
    sys.stdout.writelines(f"{path}\n" for path in changed)


if __name__ == "__main__":
    main()
