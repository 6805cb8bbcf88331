# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with what an inventory says of a store of secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.entries import meant

OPENBAO = "openbao"
# Stores of others: what has to be said of each, and as who it may be asked, one way of these.
NEEDED = {"aws": ("region",), "azure": ("vault_url", "tenant_id"), "gcp": ("project_id",)}
WAYS = {
    "aws": (("access_key_id_file", "secret_access_key_file"), ("account_role_arn",)),
    "azure": (("client_id_file", "client_secret_file"), ("client_id",)),
    "gcp": (("key_file",), ("service_account", "cluster_location", "cluster_name")),
}
STORES = ("none", OPENBAO, *NEEDED)
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_DURATION = re.compile(r"(?=.)(\d+h)?(\d+m)?(\d+s)?")


@dataclass(frozen=True)
class Wanted:
    """What an inventory says. ``secrets``: all of them, those of the sample application first.

    built: whether programs and images are built here, rather than official ones.
    """

    provider: str
    built: bool
    values: Mapping[str, Any] = field(default_factory=dict)
    secrets: Sequence[Mapping[str, Any]] = ()
    rotated: Sequence[str] = ()
    refresh: str = "1m"


def check_store(wanted: Wanted) -> list[str]:
    """Return what is wrong, each with what to do."""
    if wanted.provider not in STORES:
        return [f"secrets_store_provider is {wanted.provider}, which is none of {', '.join(STORES)}"]
    found = list(_provider(wanted)) if wanted.provider in NEEDED else []
    found += [*_secrets(wanted.secrets), *_rotated(wanted)]
    if not _DURATION.fullmatch(wanted.refresh):
        found.append(f"secrets_store_refresh is {wanted.refresh}, which has to be a time such as 1m or 1h30m")
    return found


def _provider(wanted: Wanted) -> Iterator[str]:
    provider, values = wanted.provider, wanted.values
    variable = f"secrets_store_{provider}"
    if wanted.built:
        yield (
            f"secrets_store_provider is {provider}, which the External Secrets that is built here does not know: it "
            f"knows {OPENBAO}. Take artifacts_source: release where official images can be had, or {OPENBAO}"
        )
    for key in NEEDED[provider]:
        if not values.get(key):
            yield f"{variable} has no {key}"
    ways = [way for way in WAYS[provider] if all(values.get(key) for key in way)]
    if len(ways) != 1:
        choices = ", or ".join(" and ".join(way) for way in WAYS[provider])
        yield f"{variable} says {'twice' if ways else 'not'} as who the store is asked: either {choices}"
    for key, value in values.items():
        if key.endswith("_file") and value and not Path(str(value)).expanduser().is_file():
            yield f"{variable}: {key} is {value}, which is no file of the controller"


def _title(secret: Mapping[str, Any]) -> str:
    return f"{secret.get('namespace')}/{secret.get('name')}"


def _secrets(secrets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    titles = [_title(secret) for secret in secrets]
    for title in dict.fromkeys(titles):
        if titles.count(title) > 1:
            yield f"secrets_store_secrets: {title} is there more than once, or is one of the sample application's"
    for secret in secrets:
        if not all(_NAME.fullmatch(str(secret.get(key))) for key in ("namespace", "name")):
            yield f"secrets_store_secrets: {_title(secret)} is no name of a namespace and of a Secret"
        if not secret.get("keys"):
            yield f"secrets_store_secrets: {_title(secret)} has no keys"


def _rotated(wanted: Wanted) -> Iterator[str]:
    known = {_title(secret): secret for secret in wanted.secrets}
    for title in wanted.rotated:
        if wanted.provider != OPENBAO:
            yield (
                f"secrets_store_rotate: {title} can be given a new value in {OPENBAO} alone, and "
                f"secrets_store_provider is {wanted.provider}: change it there"
            )
        elif title not in known:
            yield f"secrets_store_rotate: there is no secret {title}. {meant(title, known)}"
        elif not any((key or {}).get("keep_earlier") for key in known[title]["keys"].values()):
            yield f"secrets_store_rotate: {title} has no key with keep_earlier: who uses it would be locked out"
