# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the whole site with bad input: each ends before its first change and says what is wrong and where."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY, load

Inventory = dict[str, Any]
# The lock of a sandbox is the whole machine's: two test runs at once must not share a name.
SANDBOX = f"t-{os.getpid()}"
MACHINES = Path("/var/lib/cicd-sandbox") / SANDBOX
STATE = Path.home() / ".local/state/cicd-sandbox" / SANDBOX


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Path]:
    """Copy the dev inventory; its sandbox is one that nobody made, on a network of its own."""
    directory = tmp_path / "inventory"
    shutil.copytree(REPOSITORY / "inventories/dev", directory)
    for path in directory.rglob("*.yml"):
        text = path.read_text().replace("198.18.0.", "198.18.90.")
        path.write_text(text.replace("sandbox_name: dev", f"sandbox_name: {SANDBOX}").replace("8080", "8190"))
    # How much room this computer has is not what is tested here.
    groups = ("infra", "etcd", "control_plane", "workers")
    room = {"preflight_disk_mb": dict.fromkeys(groups, 1), "sandbox_cache_free_gib": 1}
    (directory / "group_vars/all/room.yml").write_text(yaml.safe_dump(room))
    sound = shutil.copytree(directory, tmp_path / "sound")
    yield directory
    if MACHINES.exists():  # it was not refused
        subprocess.run(
            ["ansible-playbook", "playbooks/teardown.yml", f"--inventory={sound}"], check=True, cwd=REPOSITORY
        )


def site(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = ["ansible-playbook", "site.yml", f"--inventory={inventory}", *arguments]
    environment = {**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    return subprocess.run(line, check=False, capture_output=True, text=True, cwd=REPOSITORY, env=environment)


def refused(inventory: Path, *arguments: str) -> str:
    """Run the site, which has to refuse without a change; return what it says, on one line."""
    run = site(inventory, *arguments)
    said = re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", run.stdout + run.stderr).replace("\\n", " "))
    assert run.returncode != 0, said
    assert not re.search("changed=[1-9]", said), said
    assert not MACHINES.exists()
    assert not (STATE / "ssh").exists()
    return said


def hosts(change: Callable[[Inventory], None]) -> Callable[[Path], None]:
    """Change the groups of the inventory."""

    def apply(inventory: Path) -> None:
        path = inventory / "hosts.yml"
        content = load(path)
        change(content["all"]["children"]["machines"]["children"])
        path.write_text(yaml.safe_dump(content))

    return apply


def variable(text: str) -> Callable[[Path], None]:
    """Set a variable for all hosts."""
    return lambda inventory: (inventory / "group_vars/all/wrong.yml").write_text(f"---\n{text}\n") and None


def both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    """Change an inventory in several ways."""

    def apply(inventory: Path) -> None:
        for change in changes:
            change(inventory)

    return apply


CASES: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "mistyped variable": (
        variable("cluster_read_timeout: 5"),
        ["cluster_read_timeout", "wrong.yml", "cluster_ready_timeout"],
    ),
    "wrong type": (variable("cluster_ready_timeout: soon"), ["cluster_ready_timeout", "soon", "int"]),
    # The first role would refuse its own value, and nothing else would be said.
    "wrong type of what preflight itself reads": (
        variable("sandbox_http_port: eighty\nsandbox_domain: My_Domain\ncluster_ready_timeout: soon"),
        ["Nothing was changed. 3 to put right", "'eighty'", "such as my-domain", "cluster_ready_timeout"],
    ),
    "names and paths": (
        both(
            hosts(lambda groups: groups["workers"]["hosts"].update(worker_3={"ansible_host": "198.18.90.33"})),
            variable("sandbox_cache_directory: cache"),
        ),
        ["Nothing was changed. 2 to put right", "such as worker-3", "'cache' is no absolute path"],
    ),
    "empty group": (hosts(lambda groups: groups["etcd"].update(hosts={})), ["etcd", "group"]),
    "host in two exclusive groups": (
        hosts(lambda groups: groups["workers"]["hosts"].update({"cp-1": {}})),
        ["cp-1", "control_plane", "workers"],
    ),
    "overlapping networks": (variable("sandbox_pod_network: 10.96.128.0/17"), ["10.96.128.0/17", "10.96.0.0/16"]),
    "no network": (variable("sandbox_pod_network: 10.244.0.0/99"), ["sandbox_pod_network", "10.244.0.0/99"]),
    "address outside the bridge's network": (
        hosts(lambda groups: groups["workers"]["hosts"]["worker-1"].update(ansible_host="10.9.9.9")),
        ["worker-1", "10.9.9.9", "198.18.90.0/24"],
    ),
    "what the collection has fixed": (
        variable("sandbox_versions: {kubernetes: 1.36.0}"),
        ["sandbox_versions", "wrong.yml", "roles/sandbox/vars"],
    ),
    "mistyped provider": (
        hosts(lambda groups: groups["workers"]["hosts"]["worker-1"].update(machines_provider="nspwan")),
        ["machines_provider", "nspwan", "existing", "Nothing was changed"],
    ),
    "unreachable host": (
        hosts(
            lambda groups: groups["workers"]["hosts"]["worker-1"].update(
                machines_provider="existing", ansible_host="127.0.0.9", ansible_port=9
            )
        ),
        ["Nothing was changed", "worker-1: can't be reached", "refused"],
    ),
}


def test_preflight_alone_changes_nothing(inventory: Path) -> None:
    """Nothing stands, so there is nothing to say in the end either, nor a host to write the landing page to."""
    run = site(inventory, "--tags", "preflight")
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"localhost +: ok=[1-9]\d* +changed=0 ", run.stdout), run.stdout
    assert not re.search("changed=[1-9]|unreachable=[1-9]", run.stdout), run.stdout
    assert "Say what stands" not in run.stdout
    assert not MACHINES.exists()
    assert not STATE.exists()


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_before_the_first_change(inventory: Path, case: str) -> None:
    spoil, words = CASES[case]
    spoil(inventory)
    said = refused(inventory)
    assert [word for word in words if word not in said] == [], said


def test_an_unknown_tag_is_refused(inventory: Path) -> None:
    said = refused(inventory, "--tags", "aps")
    assert "aps" in said
    assert "apps" in said


def test_an_unsupported_version_is_refused(inventory: Path) -> None:
    variable("sandbox_component_versions: {kubernetes: 1.19.0, etdc: 3.7.3, node: 24.19.1}")(inventory)
    said = refused(inventory)
    assert "Kubernetes 1.19.0 is not supported" in said
    assert "kubernetes 1.19.0, of which no build is known. Take 1.37.2." in said
    assert "etdc, which is no component. Did you mean etcd?" in said
    assert "node 24.19.1, of which no build is known. Take 24.19.0." in said


def test_a_component_of_the_inventory_is_looked_at(inventory: Path) -> None:
    """Its containerfile is looked for beside the inventory."""
    variable(
        "sandbox_component_hello: {version: '1', images: [{reference: 'registry.sandbox.internal/hello',"
        " containerfile: hello, official: false}]}"
    )(inventory)
    said = refused(inventory)
    assert "images/hello has no Containerfile or Dockerfile" in said
    assert "sandbox_component_hello" not in said
    (inventory.parent / "images/hello").mkdir(parents=True)
    (inventory.parent / "images/hello/Containerfile").write_text("FROM scratch\n")
    assert site(inventory, "--tags", "preflight").returncode == 0


def test_placeholders_of_production_are_refused(tmp_path: Path) -> None:
    production = shutil.copytree(REPOSITORY / "inventories/prod", tmp_path / "prod")
    said = refused(production, "--extra-vars", f"sandbox_name={SANDBOX}")
    placeholders = set(re.findall(r"(\S+) is a placeholder \((\S+):\d+\)", said))
    # Ten hosts and the domain, in one file.
    assert len(placeholders) == 11
    assert {file for _, file in placeholders} == {f"{production}/hosts.yml"}
