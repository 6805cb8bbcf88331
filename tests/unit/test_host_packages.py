# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages were installed for sandboxes, and which of them nobody else needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.host import packages
from ansible_collections.cicd.sandbox.plugins.module_utils.host.packages import PackagesError

# As apt 2.6 says it; bash is upgraded, not new.
SIMULATION = """\
NOTE: This is only a simulation!
Inst libtext-charwidth-perl (0.04-11 Debian:12.15/oldstable [amd64])
Inst cowsay (3.03+dfsg2-8 Debian:12.15/oldstable [all])
Inst libc6:i386 (2.36 Debian:12.15/oldstable [i386])
Inst bash [5.2.15-2] (5.2.15-2+b1 Debian:12.15/oldstable [amd64])
Conf cowsay (3.03+dfsg2-8 Debian:12.15/oldstable [all])
"""
DPKG = (
    "installed\tskopeo\tno\t, common (>> 0.49), libc6 (>= 2.34)\t\n"
    "installed\tbuildah\tno\t, uidmap, common, crun | runc\t\n"
    "installed\trunc\tno\tlibc6, \toci-runtime\n"
    "installed\tcommon\tno\t\t\n"
    "installed\tuidmap\tno\t\t\n"
    "installed\tlibc6\tno\t\t\n"
    "config-files\tleft-over\tno\t\t\n"
    "{others}"
)


def host(others: str = "") -> dict[str, packages.Installed]:
    return packages.installed(DPKG.format(others=others))


OURS = ["buildah", "common", "left-over", "never-installed", "runc", "skopeo", "uidmap"]


def test_what_apt_would_install_anew() -> None:
    assert packages.new(SIMULATION) == ["cowsay", "libc6", "libtext-charwidth-perl"]
    assert packages.new("") == []


def test_what_nobody_else_needs() -> None:
    assert packages.needless(OURS, host()) == (["buildah", "common", "runc", "skopeo", "uidmap"], [])


@pytest.mark.parametrize(
    ("others", "kept"),
    [
        ("installed\tdocker\tno\tlibc6, runc (>= 1.0)\t\n", ["runc"]),
        # It would do with another one, and is not asked.
        ("installed\tdocker\tno\tcrun | runc:any\t\n", ["runc"]),
        ("installed\tdocker\tno\toci-runtime\t\n", ["runc"]),
        ("installed\tpodman\tno\tbuildah\t\n", ["buildah", "common", "runc", "uidmap"]),
        ("config-files\tpodman\tno\tbuildah\t\n", []),
    ],
)
def test_what_others_came_to_need_stays_with_what_it_needs(others: str, kept: list[str]) -> None:
    needless, needed = packages.needless(OURS, host(others))
    assert needed == kept
    assert sorted(needless + needed) == ["buildah", "common", "runc", "skopeo", "uidmap"]


def test_what_is_essential_stays() -> None:
    found = host("installed\tdash\tyes\t\t\n")
    assert packages.needless(["dash"], found) == ([], ["dash"])


def test_the_record_grows(tmp_path: Path) -> None:
    record = tmp_path / "cache/host-packages.json"
    assert packages.recorded(record) == []
    assert packages.remember(record, ["skopeo", "buildah"])
    assert not packages.remember(record, ["skopeo"])
    assert packages.remember(record, ["chromium"])
    assert packages.recorded(record) == ["buildah", "chromium", "skopeo"]


@pytest.mark.parametrize("text", ["", "{}", '["a", 1]', "["])
def test_a_broken_record_is_named(tmp_path: Path, text: str) -> None:
    record = tmp_path / "host-packages.json"
    record.write_text(text)
    with pytest.raises(PackagesError, match=r"host-packages\.json can't be read"):
        packages.recorded(record)
    with pytest.raises(PackagesError):
        packages.remember(record, ["a"])
    assert record.read_text() == text
