# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which keys the values of Kubernetes in etcd are encrypted with. Runs on a member; no Ansible in here.

An API server writes ``k8s:enc:<provider>:v<n>:<name of the key>:`` before what it encrypts, and nothing like it before
what it does not. https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/#verifying-that-data-is-encrypted
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.client import Client
from ansible_collections.cicd.sandbox.plugins.module_utils.host.commands import Run

# Values that are asked for at once: etcd's answers have a limit, and so has memory.
PAGE = 500
# So many characters of a value, in base64, are enough to read how it begins.
HEAD = 240
ENCRYPTED = re.compile(rb"k8s:enc:[^:]+:v\d+:([^:]+):")


class EncryptionError(Exception):
    """Why nobody knows."""


@dataclass
class Found:
    """How many values each key encrypts, "" for none, and the path of one of them."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)


def keys_in_use(client: Client, run: Run, prefix: str) -> Found:
    """Count the values of all paths that begin with a prefix by the names of their keys."""
    found = Found()
    for path, head in values(client, run, prefix):
        match = ENCRYPTED.match(head)
        name = match[1].decode(errors="replace") if match else ""
        found.counts[name] = found.counts.get(name, 0) + 1
        found.examples.setdefault(name, path)
    return found


def values(client: Client, run: Run, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Give each path with what its value begins with. All are of one revision: nothing is counted twice, or missed."""
    begin, end, revision, last = prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1), 0, ""
    while True:
        code, out = run(client.command("get", f"--limit={PAGE}", f"--rev={revision}", begin, end))
        if code:
            raise EncryptionError(f"etcdctl get {prefix} ended with {code}")
        try:
            answer = json.loads(out)
            revision = revision or int(answer["header"]["revision"])
            found = [(base64.b64decode(item["key"]).decode(), str(item["value"])) for item in answer.get("kvs") or []]
        except (AttributeError, LookupError, TypeError, ValueError):
            raise EncryptionError(f"etcdctl get {prefix} answers {out[:80]!r}") from None
        for path, value in found:
            # What a page ends with, the next one begins with: no argument can say what follows it.
            if path != last:
                yield path, base64.b64decode(value[:HEAD])
        if not answer.get("more"):
            return
        begin = last = found[-1][0]
