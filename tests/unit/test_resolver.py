# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name servers that pods can ask, out of what hosts have."""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cicd.sandbox.plugins.module_utils.host import resolver
from ansible_collections.cicd.sandbox.plugins.modules import resolver_file
from checkout import REPOSITORY, load

STUB = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n"
CASES: dict[str, tuple[str | None, str | None, list[str]]] = {
    "one": ("nameserver 192.0.2.53\n", None, ["192.0.2.53"]),
    "dnsmasq": ("nameserver 127.0.0.1\n", None, []),
    "dnsmasq and another": ("nameserver 127.0.0.1\nnameserver 192.0.2.53\n", None, ["192.0.2.53"]),
    "the stub of systemd-resolved": (STUB, "nameserver 192.0.2.53\n", ["192.0.2.53"]),
    "systemd-resolved in front of a loopback": (STUB, "nameserver 127.0.0.1\n", []),
    "systemd-resolved with nothing to ask": (STUB, "# No DNS servers known.\n", []),
    "another's file beside systemd-resolved": ("nameserver 192.0.2.1\n", "nameserver 192.0.2.2\n", ["192.0.2.1"]),
    "empty": ("", None, []),
    "missing": (None, None, []),
    "comments": ("# nameserver 192.0.2.1\n; nameserver 192.0.2.2\nnameserver\t192.0.2.3 # ours\n", None, ["192.0.2.3"]),
    "scope": ("nameserver fe80::1%eth0\nnameserver 192.0.2.53\n", None, ["192.0.2.53"]),
    "scope alone": ("nameserver fe80::1%eth0\n", None, []),
    "IPv6 alone": ("nameserver 2001:db8::53\nnameserver ::1\n", None, []),
    "too many": ("".join(f"nameserver 192.0.2.{n}\n" for n in range(1, 6)), None, [f"192.0.2.{n}" for n in (1, 2, 3)]),
    "too many, some of no use": (
        "nameserver ::1\nnameserver 127.0.0.1\nnameserver 0.0.0.0\nnameserver 192.0.2.1\nnameserver 192.0.2.1\n",
        None,
        ["192.0.2.1"],
    ),
    "nonsense": ("nameserver\nnameserver dns.example.org\n\0\n", None, []),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    own, behind, usable = CASES[request.param]
    for name, constant, text in (("resolv.conf", "RESOLV_CONF", own), ("uplink", "UPLINK", behind)):
        if text is not None:
            (tmp_path / name).write_text(text)
        monkeypatch.setattr(resolver, constant, tmp_path / name)
    return usable


def run(capsys: pytest.CaptureFixture[str], path: Path, **arguments: Any) -> dict[str, Any]:
    with (
        patch_module_args({"path": str(path), "address": "198.18.0.31", **arguments}),
        pytest.raises(SystemExit),
    ):
        resolver_file.main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_pods_are_told_of_servers_that_they_can_ask(
    case: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resolver.read().usable() == case
    path = tmp_path / "for-pods"
    assert run(capsys, path, _ansible_check_mode=True)["changed"]
    assert not path.exists()
    first = run(capsys, path)
    assert first["changed"]
    # There is always one, and never the pod itself.
    assert first["name_servers"] == (case or ["198.18.0.31"])
    lines = path.read_text().splitlines()
    assert [line.split()[1] for line in lines if line.startswith("nameserver")] == first["name_servers"]
    assert "search ." not in lines
    assert not run(capsys, path)["changed"]


def test_servers_of_the_inventory_are_asked_alone(
    case: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, tmp_path / "for-pods", name_servers=["192.0.2.99"])["name_servers"] == ["192.0.2.99"]


def test_the_rest_is_the_hosts() -> None:
    found = resolver.parse("domain lan\nsearch a.lan . b.lan\noptions ndots:1 edns0\nsortlist 192.0.2.0\n")
    assert found.text(["192.0.2.1"]).splitlines()[1:] == [
        "nameserver 192.0.2.1",
        "domain lan",
        "search a.lan b.lan",
        "options ndots:1 edns0",
    ]


def test_the_nodes_file_is_not_taken_for_a_kubeconfig() -> None:
    """Its ending is theirs: whoever looks when certificates end would warn of it for good."""
    path = load(REPOSITORY / "roles/cluster/vars/main/kubeadm.yml")["__cluster_resolver_file"]
    watched = [
        *load(REPOSITORY / "roles/pki/defaults/main.yml")["pki_expiry_host_paths"],
        *load(REPOSITORY / "roles/cluster/vars/main/certificates.yml")["__cluster_watched_certificates"],
    ]
    assert [pattern for pattern in watched if PurePath(path).match(pattern)] == []
