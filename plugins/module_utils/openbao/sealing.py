# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Initialise and unseal an OpenBao, and make a root token of its unseal keys.

The keys are in a file of the controller (0600): {"unseal_keys": [base64, …], "threshold": n}. The root token of the
initialisation is revoked at once and kept nowhere.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.cicd.sandbox.plugins.module_utils.host.files import replacing
from ansible_collections.cicd.sandbox.plugins.module_utils.openbao.server import Bao, BaoError

SHARES, THRESHOLD = 5, 3


@dataclass(frozen=True)
class Keys:
    """Unseal keys, and how many of them unseal."""

    shares: list[str]
    threshold: int


@dataclass(frozen=True)
class Seal:
    """What an OpenBao says of its seal."""

    initialised: bool
    sealed: bool


def seal_of(bao: Bao) -> Seal:
    """Ask for the seal. Raises BaoError."""
    status = bao.read("sys/seal-status") or {}
    return Seal(bool(status.get("initialized")), bool(status.get("sealed", True)))


def read_keys(path: Path) -> Keys:
    """Read the file of the keys. Raises BaoError with what to do where it is not there or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        keys = Keys([str(key) for key in content["unseal_keys"]], int(content["threshold"]))
    except FileNotFoundError:
        raise BaoError(
            f"OpenBao has been initialised, and its unseal keys are not in {path}: nothing else opens it. Put the file "
            f"back, or remove its namespace with all that is in it",
            final=True,
        ) from None
    except OSError as error:
        raise BaoError(f"{path}: {error.strerror}", final=True) from None
    except (ValueError, LookupError, TypeError):
        raise BaoError(f"{path} does not hold unseal keys: put back what was there", final=True) from None
    if not 0 < keys.threshold <= len(keys.shares):
        raise BaoError(f"{path} holds {len(keys.shares)} unseal keys, and {keys.threshold} are wanted", final=True)
    return keys


def initialise(bao: Bao, path: Path) -> None:
    """Initialise an OpenBao that never was, keep its keys, open it, and forget its root token. Raises BaoError.

    Keys that the file had are those of one that is gone: they are kept beside it, for its backups.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        path.replace(path.with_name(f"{path.name}.earlier"))
    answer = bao.write("sys/init", {"secret_shares": SHARES, "secret_threshold": THRESHOLD})
    keys = Keys(list(answer["keys_base64"]), THRESHOLD)
    with replacing(path, 0o600, sync=True) as stream:
        stream.write(json.dumps({"unseal_keys": keys.shares, "threshold": keys.threshold}, indent=2).encode() + b"\n")
    unseal(bao, keys)
    bao.become(str(answer["root_token"]))
    try:
        bao.write("auth/token/revoke-self", {})
    finally:
        bao.become("")


def unseal(bao: Bao, keys: Keys) -> None:
    """Open it. Raises BaoError where the keys are another's."""
    # Keys that a run which was killed has given count for nothing.
    bao.write("sys/unseal", {"reset": True})
    for key in keys.shares[: keys.threshold]:
        answer = bao.write("sys/unseal", {"key": key})
    if answer.get("sealed", True):
        raise BaoError("OpenBao takes the unseal keys and stays sealed: they are another one's", final=True)


def root_token(bao: Bao, keys: Keys) -> str:
    """Make a root token of the unseal keys. Whoever has it revokes it. Raises BaoError."""
    bao.delete("sys/generate-root/attempt")
    attempt = bao.write("sys/generate-root/attempt", {})
    for key in keys.shares[: keys.threshold]:
        answer = bao.write("sys/generate-root/update", {"key": key, "nonce": attempt["nonce"]})
    return decoded(str(answer.get("encoded_token") or answer.get("encoded_root_token") or ""), str(attempt["otp"]))


def decoded(encoded: str, otp: str) -> str:
    """Return the token that was combined with a one-time password, byte by byte, in base64 without padding."""
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raw = b""
    if not raw or len(raw) != len(otp):
        raise BaoError("OpenBao's answer holds no root token")
    return bytes(one ^ other for one, other in zip(raw, otp.encode(), strict=True)).decode("ascii", errors="replace")
