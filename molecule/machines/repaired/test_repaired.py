"""Machines after they were stopped, killed and cut off, and beside another sandbox."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

SCENARIO = Path(__file__).resolve().parents[1]
LIBRARY = Path("/var/lib/cicd-sandbox/t-machines")
OTHER = "198.18.4.2"
testinfra_hosts = ["ansible://worker-1"]


def as_root(*line: str) -> str:
    """What a command on this host prints; it is run as root."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    done = subprocess.run([*sudo, *line], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def play(name: str) -> None:
    """Run one of the collection's playbooks for the other sandbox."""
    line = ["ansible-playbook", f"playbooks/{name}.yml", f"--inventory={SCENARIO}/beside"]
    done = subprocess.run(line, check=False, capture_output=True, text=True, cwd=SCENARIO.parents[1])
    assert done.returncode == 0, done.stdout + done.stderr


def greets(address: str) -> bool:
    with suppress(OSError), socket.create_connection((address, 22), timeout=2) as connection:
        return connection.recv(4) == b"SSH-"
    return False


def standing() -> tuple[str, list[str]]:
    """What another sandbox must not touch: supervisors of this one by their process ids, and its links."""
    supervisors = subprocess.run(
        ["pgrep", "--full", "--", "--machine=t-machines-"], check=True, capture_output=True, text=True
    ).stdout
    links = json.loads(as_root("ip", "-json", "link", "show", "master", "sb-t-machines"))
    return supervisors, sorted(link["ifname"] for link in links)


def test_data_survived(host):
    assert host.file("/srv/survivor").content_string == "kept"


def test_a_machine_with_other_settings_was_started_anew():
    assert "exec systemd-nspawn" in as_root("cat", f"{LIBRARY}/worker-2/run")


def test_another_sandbox_comes_and_goes_beside_this_one(host):
    before = standing()
    assert len(before[1]) == 3
    play("machines")
    try:
        assert greets(OTHER)
        assert standing() == before
        assert host.run(f"ping -c 1 -W 1 {OTHER}").rc != 0
    finally:
        play("teardown")
    assert standing() == before
    assert greets("198.18.2.31")
    as_root("nft", "list", "table", "inet", "cicd_sandbox_t_machines")
    as_root("python3", f"{SCENARIO.parent}/shared/traces.py", "t-beside", OTHER, str(Path.home()))
