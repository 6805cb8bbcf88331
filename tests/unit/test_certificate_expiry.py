# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When certificates end: in files, in kubeconfigs, and how it is told."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.cicd.sandbox.plugins.filter.certificate_table import FilterModule
from ansible_collections.cicd.sandbox.plugins.module_utils.host.certificate_expiry import inspect, metrics, table
from checkout import REPOSITORY
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from modules import run_module

MONTH = timedelta(days=30)


def certificate(name: str = "somebody", left: timedelta = timedelta(days=300), *, authority: bool = False) -> bytes:
    """Make a certificate that ends after a time, by whatever key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=365))
        .not_valid_after(now + left + timedelta(seconds=30))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def kubeconfig(**user: str) -> str:
    return yaml.safe_dump({"kind": "Config", "users": [{"name": "somebody", "user": user}]})


def found(directory: Path, *patterns: str) -> list[dict[str, Any]]:
    return inspect([f"{directory}/{pattern}" for pattern in patterns], MONTH)


def told(text: str) -> dict[str, float]:
    """Metric with its labels → value."""
    pairs = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in pairs}


def test_metrics_say_when_each_one_ends_and_what_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.crt").write_bytes(certificate("server"))
    (tmp_path / "ca.crt").write_bytes(certificate("root", authority=True) + certificate("root", MONTH, authority=True))
    (tmp_path / "broken.crt").write_text("nothing")
    found = told(metrics([f"{tmp_path}/*.crt"]))
    soon = datetime.now(UTC).timestamp() + MONTH.total_seconds()
    name = "host_certificate_not_after_timestamp_seconds"
    assert set(found) == {
        f'{name}{{path="{tmp_path}/a.crt",name="server",authority="false"}}',
        f'{name}{{path="{tmp_path}/ca.crt",name="root",authority="true"}}',
        f'host_certificate_unreadable{{path="{tmp_path}/broken.crt"}}',
    }
    assert abs(found[f'{name}{{path="{tmp_path}/ca.crt",name="root",authority="true"}}'] - soon) < 120
    assert found[f'host_certificate_unreadable{{path="{tmp_path}/broken.crt"}}'] == 1


def test_names_are_written_as_prometheus_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a.crt").write_bytes(certificate('a "quoted" \\ name'))
    (line,) = told(metrics([f"{tmp_path}/*.crt"]))
    assert r'name="a \"quoted\" \\ name"' in line


def test_a_host_has_it_as_a_program(tmp_path: Path) -> None:
    (tmp_path / "a.crt").write_bytes(certificate())
    program = tmp_path / "lib/certificate_expiry.py"
    program.parent.mkdir()
    program.write_text((REPOSITORY / "plugins/module_utils/host/certificate_expiry.py").read_text())
    line = [sys.executable, "-I", program, tmp_path / "out.prom", f"{tmp_path}/*.crt", f"{tmp_path}/nothing/*"]
    subprocess.run(line, check=True)
    written = (tmp_path / "out.prom").read_text()
    assert re.search(r'seconds\{path="\S+/a.crt",name="somebody",authority="false"} \d+\n', written)
    assert (tmp_path / "out.prom").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.glob("out*")] == ["out.prom"]


def test_a_file_is_told_with_all_that_is_asked_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.crt").write_bytes(certificate())
    (row,) = found(tmp_path, "*.crt")
    end = datetime.now(UTC) + timedelta(days=300)
    assert row.pop("not_after")[:10] in {f"{end:%Y-%m-%d}", f"{end + timedelta(minutes=1):%Y-%m-%d}"}
    assert row == {
        "path": f"{tmp_path}/a.crt",
        "name": "somebody",
        "authority": False,
        "days_left": 300,
        "due": False,
        "problem": "",
    }


@pytest.mark.parametrize(
    ("left", "days", "due"),
    [
        (timedelta(days=31), 31, False),
        (timedelta(days=30), 30, False),
        (timedelta(days=29, hours=23), 29, True),
        (timedelta(hours=1), 0, True),
        (timedelta(hours=-1), -1, True),
        (timedelta(days=-1, minutes=-5), -2, True),
    ],
)
def test_it_is_due_a_month_before_its_end_and_after_it(tmp_path: Path, left: timedelta, days: int, due: bool) -> None:
    (tmp_path / "a.crt").write_bytes(certificate(left=left))
    (row,) = found(tmp_path, "a.crt")
    assert (row["days_left"], row["due"]) == (days, due)


def test_a_kubeconfig_holds_its_certificate_or_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki/current.pem").write_bytes(b"-----BEGIN EC PRIVATE KEY-----\n" + certificate("system:node:cp-1"))
    (tmp_path / "kubelet.conf").write_text(kubeconfig(**{"client-certificate": f"{tmp_path}/pki/current.pem"}))
    (tmp_path / "relative.conf").write_text(kubeconfig(**{"client-certificate": "pki/current.pem"}))
    (tmp_path / "admin.conf").write_text(
        kubeconfig(**{"client-certificate-data": base64.b64encode(certificate("kubernetes-admin")).decode()})
    )
    rows = found(tmp_path, "*.conf")
    assert [(row["path"].rpartition("/")[2], row["name"], row["due"]) for row in rows] == [
        ("admin.conf", "kubernetes-admin", False),
        ("kubelet.conf", "system:node:cp-1", False),
        ("relative.conf", "system:node:cp-1", False),
    ]


def test_what_is_not_there_or_has_no_certificate_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "token.conf").write_text(kubeconfig(token="t"))
    (tmp_path / "nobody.conf").write_text(yaml.safe_dump({"kind": "Config"}))
    assert found(tmp_path, "*.conf", "*.crt", "none/ca.crt", "pki/*.crt") == []


def test_every_certificate_of_a_bundle_counts_and_no_file_twice(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(certificate("old", authority=True) + certificate("new", authority=True))
    assert [row["name"] for row in found(tmp_path, "*.crt", "ca.crt")] == ["old", "new"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "its certificate can't be read"),
        ("garbage", "it is neither a certificate nor a kubeconfig"),
        ("", "it is neither a certificate nor a kubeconfig"),
        ("a: [", "it can't be read: "),
        (kubeconfig(**{"client-certificate-data": "AAAA"}), "its certificate can't be read"),
        (kubeconfig(**{"client-certificate-data": "?"}), "it can't be read: "),
        (kubeconfig(**{"client-certificate": "gone.pem"}), "No such file or directory"),
    ],
)
def test_what_cant_be_read_is_due_and_says_why(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "broken.conf").write_text(text)
    (row,) = found(tmp_path, "broken.conf")
    assert row["due"]
    assert problem in row["problem"]
    assert row["not_after"] == ""


# --- how it is told ---------------------------------------------------------------------------------------------------


def hosts(directory: Path, **files: bytes) -> dict[str, dict[str, Any]]:
    """Lay certificates on hosts: `host_name=PEM`; give what the module finds there."""
    for place, content in files.items():
        host, _, name = place.partition("_")
        (directory / host).mkdir(exist_ok=True)
        (directory / host / f"{name}.crt").write_bytes(content)
    return {path.name: {"certificates": inspect([f"{path}/*.crt"], MONTH)} for path in sorted(directory.iterdir())}


def test_those_that_end_first_are_shown_and_each_authority_once(tmp_path: Path) -> None:
    authority = certificate("dev kubernetes CA", timedelta(days=3000), authority=True)
    lines = table(
        hosts(
            tmp_path,
            cp_a=certificate(left=timedelta(days=200)),
            cp_b=certificate(left=timedelta(days=100)),
            cp_c=certificate(left=timedelta(days=300)),
            cp_ca=authority,
            worker_ca=authority,
        ),
        365,
        first=2,
    )
    assert [line.split("  ")[-1].replace(str(tmp_path), "") for line in lines] == [
        "cp /cp/b.crt",
        "cp /cp/a.crt",
        "CA dev kubernetes CA",
    ]
    assert lines[0].startswith("  100 days  20")


def test_all_that_are_due_are_shown_and_warned_of(tmp_path: Path) -> None:
    ended, ends = certificate(left=timedelta(days=-2)), certificate(left=timedelta(days=2))
    lines = table(hosts(tmp_path, cp_a=ended, cp_b=ends, cp_c=b"garbage", cp_d=certificate()), 365, first=1)
    assert len(lines) == 6
    assert lines[0].startswith("unreadable")
    warnings = [line.removeprefix(f"WARNING: cp {tmp_path}/cp/") for line in lines[3:]]
    assert warnings[0].startswith("c.crt: it can't be read: it is neither a certificate nor a kubeconfig; the next run")
    assert warnings[1].startswith("a.crt: it ended on 20")
    assert warnings[2].startswith("b.crt: it ends on 20")


def test_an_authority_is_warned_of_before_what_it_signs_outlives_it(tmp_path: Path) -> None:
    files = {"cp_ca": certificate("dev etcd CA", timedelta(days=364), authority=True)}
    (_, warning) = FilterModule().filters()["certificate_table"](hosts(tmp_path, **files), 365)
    assert warning.startswith("WARNING: the CA dev etcd CA: it ends on 20")
    assert len(table(hosts(tmp_path, **files), 364)) == 1


def test_a_host_that_could_not_be_looked_at_is_named() -> None:
    results = {"cp-1": {"certificates": []}, "cp-2": {"unreachable": True, "msg": "no route to host"}}
    assert table(results, 365) == ["WARNING: cp-2 could not be looked at: no route to host"]


def test_the_module_gives_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.crt").write_bytes(certificate(left=timedelta(days=40)))
    arguments = {"paths": [f"{tmp_path}/*.crt"]}
    (row,) = run_module("host_certificates_info", arguments, capsys)["certificates"]
    assert (row["days_left"], row["due"]) == (40, False)
    (row,) = run_module("host_certificates_info", {**arguments, "renew_before_days": 60}, capsys)["certificates"]
    assert row["due"]
