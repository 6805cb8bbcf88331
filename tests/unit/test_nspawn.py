"""Machines and their network: what is written and what is refused, without a machine."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import nspawn as _nspawn
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.nspawn import (
    Machine,
    MachineDirectory,
    NspawnError,
    Site,
    network_from,
    route_conflicts,
    site_from,
)

PODS, SERVICES = "10.244.0.0/16", "10.96.0.0/16"


def params(**changes: Any) -> dict[str, Any]:
    """The module's arguments for two machines."""
    machines = [
        {"name": "cp-1", "address": "198.18.0.21", "data_directories": ["/var/lib/etcd"], "memory_mb": 0},
        {"name": "worker-1", "address": "198.18.0.31", "data_directories": [], "memory_mb": 0},
    ]
    values = {
        "sandbox": "dev",
        "network": "198.18.0.0/24",
        "library": "/nowhere",
        "root": "/root-fs",
        "authorized_key": "ssh-ed25519 AAAA",
        "hosts": {"cp-1": "198.18.0.21"},
        "machines": machines,
    }
    return values | changes


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return site_from(params(library=str(tmp_path)))


class TestNetwork:
    def test_the_bridge_is_the_first_address(self) -> None:
        network = network_from("dev", "198.18.4.0/24")
        assert (network.bridge, str(network.gateway)) == ("sb-dev", "198.18.4.1")

    @pytest.mark.parametrize(
        ("sandbox", "cidr", "guarded", "named"),
        [
            ("Dev", "198.18.0.0/24", [], "'Dev'"),
            ("a-name-too-long", "198.18.0.0/24", [], "12"),
            ("dev", "198.18.0.1/24", [], "198.18.0.1/24"),
            ("dev", "fd00::/64", [], "IPv4"),
            ("dev", "198.18.0.0/30", [], "no room"),
            ("dev", "198.18.0.0/24", ["10.96.0.0/33"], "10.96.0.0/33"),
            ("dev", "198.18.0.0/24", [PODS, "10.244.3.0/24"], "overlap"),
        ],
    )
    def test_bad_arguments_are_named(self, sandbox: str, cidr: str, guarded: list[str], named: str) -> None:
        with pytest.raises(NspawnError, match=named.replace("(", r"\(")):
            network_from(sandbox, cidr, guarded)

    def test_the_rules_guard_every_network_and_translate_only_named_machines(self) -> None:
        rules = network_from("dev", "198.18.0.0/24", [PODS, SERVICES], ["198.18.0.2"]).ruleset()
        assert "10.96.0.0/16, 10.244.0.0/16, 198.18.0.0/24" in rules
        assert "ip saddr { 198.18.0.2 } ip daddr != @guarded" in rules
        assert "masquerade" not in network_from("dev", "198.18.0.0/24").ruleset()

    def test_other_rules_have_another_digest(self) -> None:
        digests = {
            network_from("dev", "198.18.0.0/24", guarded).ruleset().split('"')[1]
            for guarded in ([], [PODS], [SERVICES])
        }
        assert len(digests) == 3

    def test_the_host_must_not_route_a_sandbox_network_elsewhere(self) -> None:
        network = network_from("dev", "198.18.0.0/24", [PODS, SERVICES])
        routes = [
            {"dst": "default", "dev": "eth0"},
            {"dst": "198.18.0.0/24", "dev": "sb-dev"},
            {"dst": "192.0.2.0/24", "dev": "eth0"},
        ]
        assert route_conflicts(network, routes) == []
        conflicts = route_conflicts(network, [*routes, {"dst": "10.0.0.0/8", "dev": "tun0"}])
        assert conflicts == [
            "10.244.0.0/16 overlaps this machine's route to 10.0.0.0/8 on tun0",
            "10.96.0.0/16 overlaps this machine's route to 10.0.0.0/8 on tun0",
        ]

    def test_two_sandboxes_may_have_the_same_pods_but_not_the_same_machines(self) -> None:
        network = network_from("dev", "198.18.0.0/24", [PODS, SERVICES])
        assert route_conflicts(network, [{"dst": "198.18.1.0/24", "dev": "sb-two"}]) == []
        assert route_conflicts(network, [{"dst": "198.18.0.0/24", "dev": "sb-two"}]) != []


class TestForwarding:
    """The switch is the whole host's: the first sandbox that needs it turns it on, the last that goes turns it back."""

    @pytest.fixture
    def remaining(self, tmp_path: Path, monkeypatch: Any) -> list[str]:
        """Give the tables of the sandboxes that stand; `one` turned forwarding on, `t-two` came later."""
        remaining = ["cicd_sandbox_t_two"]
        monkeypatch.setattr(_nspawn, "FORWARDING", tmp_path / "switch")
        monkeypatch.setattr(_nspawn, "_links", lambda *_: [])
        monkeypatch.setattr(_nspawn, "tables", lambda: remaining)
        (tmp_path / "switch").write_text("1")
        (tmp_path / "library/t-two").mkdir(parents=True)
        _nspawn.write(tmp_path / "library/one/ip_forward", "0")
        return remaining

    def test_the_last_sandbox_sets_it_back(self, tmp_path: Path, remaining: list[str]) -> None:
        library = tmp_path / "library"
        one, two = network_from("one", "198.18.0.0/24"), network_from("t-two", "198.18.1.0/24")
        _nspawn.network_absent(one, library / "one", dry_run=True)
        assert not (library / "t-two/ip_forward").exists()
        assert _nspawn.network_absent(one, library / "one", dry_run=False) == []
        assert (tmp_path / "switch").read_text() == "1"
        assert not (library / "one/ip_forward").exists()
        remaining.clear()
        actions = _nspawn.network_absent(two, library / "t-two", dry_run=False)
        assert actions == ["set net.ipv4.ip_forward back to 0"]
        assert (tmp_path / "switch").read_text() == "0"

    def test_what_the_other_one_remembers_stays(self, tmp_path: Path, remaining: list[str]) -> None:
        library = tmp_path / "library"
        _nspawn.write(library / "t-two/ip_forward", "1")
        _nspawn.network_absent(network_from("one", "198.18.0.0/24"), library / "one", dry_run=False)
        assert (library / "t-two/ip_forward").read_text() == "1"


class TestSite:
    @pytest.mark.parametrize(
        ("machine", "named"),
        [
            ({"name": "CP", "address": "198.18.0.9"}, "'CP'"),
            ({"name": "a", "address": "198.18.0"}, r"machines\[0\].address \(a\)"),
            ({"name": "a", "address": "198.18.1.9"}, "outside 198.18.0.0/24"),
            ({"name": "a", "address": "198.18.0.1"}, "this host's end"),
            ({"name": "a", "address": "198.18.0.9", "memory_mb": -1}, "-1 of a is below 0"),
            ({"name": "a", "address": "198.18.0.9", "data_directories": ["srv"]}, "'srv' of a is not absolute"),
        ],
    )
    def test_bad_machines_are_named(self, machine: dict[str, Any], named: str) -> None:
        with pytest.raises(NspawnError, match=named):
            site_from(params(machines=[{"data_directories": [], "memory_mb": 0} | machine]))

    def test_an_address_belongs_to_one_machine(self) -> None:
        machine = params()["machines"][0]
        with pytest.raises(NspawnError, match="belongs to cp-1 already"):
            site_from(params(machines=[machine, machine | {"name": "cp-2"}]))


class TestMachine:
    def test_the_command_line_binds_data_outside_the_overlay(self, site: Site) -> None:
        machine = MachineDirectory(site, site.machines[0])
        command = machine.command()
        assert f"--bind={site.library}/cp-1/data/var-lib-etcd:/var/lib/etcd" in command
        assert "--machine=dev-cp-1" in command
        assert "--network-bridge=sb-dev" in command
        assert "--system-call-filter=bpf" in command

    @pytest.mark.parametrize("memory", [0, 512])
    @pytest.mark.parametrize("unified", [False, True])
    @pytest.mark.parametrize("systemd", [False, True])
    def test_the_script_is_one_that_a_shell_reads(
        self, site: Site, tmp_path: Path, monkeypatch: Any, memory: int, unified: bool, systemd: bool
    ) -> None:
        monkeypatch.setattr(_nspawn, "has_systemd", lambda: systemd)
        monkeypatch.setattr(_nspawn, "unified_cgroups", lambda: unified)
        machine = Machine("m", ipaddress.IPv4Address("198.18.0.9"), (), memory)
        script = tmp_path / "run"
        script.write_text(MachineDirectory(site, machine).script())
        subprocess.run(["sh", "-n", str(script)], check=True)
        # systemd keeps a unit's processes in the unit's own group, and limits it itself.
        assert ("cgroup.procs" in script.read_text()) == (not systemd)
        assert ("536870912" in script.read_text()) == (bool(memory) and not systemd)

    def test_without_systemd_a_machine_gets_every_controller_of_the_unified_hierarchy(
        self, site: Site, tmp_path: Path, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(_nspawn, "has_systemd", lambda: False)
        monkeypatch.setattr(_nspawn, "CGROUPS", tmp_path / "cgroup")
        machine = MachineDirectory(site, Machine("m", ipaddress.IPv4Address("198.18.0.9"), (), 512))
        group = tmp_path / "cgroup" / machine.cgroup
        above = list(group.parents)[:3]
        group.mkdir(parents=True)
        for directory in above:
            # In this copy of the kernel's tree each controller is written over the one before.
            (directory / "cgroup.controllers").write_text("cpu memory pids\n")
        nspawn = tmp_path / "bin/systemd-nspawn"
        _nspawn.write(nspawn, "#!/bin/sh\n", 0o755)
        path = f"{nspawn.parent}:{os.environ['PATH']}"
        shell = ["sh", "-x", "-c", machine.script()]
        traced = subprocess.run(shell, env={"PATH": path}, check=True, capture_output=True, text=True)
        for controller in ("cpu", "memory", "pids"):
            assert traced.stderr.count(f"echo +{controller}\n") == len(above)
        assert [(directory / "cgroup.subtree_control").read_text() for directory in above] == ["+pids\n"] * 3
        assert (group / "memory.max").read_text() == "536870912\n"
        assert int((group / "cgroup.procs").read_text())
        assert not (group / "cgroup.subtree_control").exists()

    def test_files_are_stale_until_written_and_after_a_change(
        self, site: Site, tmp_path: Path, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(_nspawn, "run", lambda line, **_: Path(line[-1]).write_text("key") and "")
        machine = MachineDirectory(site, site.machines[0])
        assert "etc/hosts" in machine.stale_files()
        machine.write_files()
        assert machine.stale_files() == []
        assert "198.18.0.21\tcp-1\n" in (machine.root / "etc/hosts").read_text()
        assert (machine.root / "root/.ssh/authorized_keys").stat().st_mode & 0o777 == 0o600
        assert json.loads((machine.root / "etc/ansible/facts.d/machine.fact").read_text())["provider"] == "nspawn"
        (machine.root / "etc/hosts").write_text("gone\n")
        assert machine.stale_files() == ["etc/hosts"]

    def test_a_process_id_that_is_somebody_elses_is_not_the_machine(self, site: Site, monkeypatch: Any) -> None:
        monkeypatch.setattr(_nspawn, "has_systemd", lambda: False)
        machine = MachineDirectory(site, site.machines[0])
        machine.path.mkdir()
        assert machine.pid() is None
        machine.pid_file.write_text(str(os.getpid()))
        assert machine.pid() is None
        machine.pid_file.write_text("")
        assert machine.pid() is None

    def test_the_plan(self, site: Site, monkeypatch: Any) -> None:
        machine = MachineDirectory(site, site.machines[0])
        links = {"vb-dev-cp-1": "sb-dev"}
        monkeypatch.setattr(MachineDirectory, "processes", lambda _: set())
        assert machine.plan(links) == ["create", "start"]
        machine.path.mkdir()
        (machine.path / "lower").write_text("/root-fs")
        monkeypatch.setattr(MachineDirectory, "pid", lambda _: None)
        assert machine.plan(links) == ["start"]
        monkeypatch.setattr(MachineDirectory, "pid", lambda _: 7)
        monkeypatch.setattr(MachineDirectory, "settings_changed", lambda _: False)
        monkeypatch.setattr(MachineDirectory, "stale_files", lambda _: ["etc/hosts"])
        assert machine.plan(links) == ["update"]
        monkeypatch.setattr(MachineDirectory, "stale_files", lambda _: [])
        assert machine.plan(links) == []

    def test_a_machine_that_runs_is_put_back_on_its_bridge_or_started_anew(self, site: Site, monkeypatch: Any) -> None:
        machine = MachineDirectory(site, site.machines[0])
        (machine.path / "root").mkdir(parents=True)
        (machine.path / "lower").write_text("/root-fs")
        stale: list[str] = []
        monkeypatch.setattr(MachineDirectory, "pid", lambda _: 7)
        monkeypatch.setattr(MachineDirectory, "settings_changed", lambda _: False)
        monkeypatch.setattr(MachineDirectory, "stale_files", lambda _: stale)
        assert machine.plan({"vb-dev-cp-1": ""}) == ["attach to the bridge"]
        assert machine.plan({"vb-dev-cp-1": "sb-other"}) == ["attach to the bridge"]
        assert machine.plan({"vb-dev-cp-2": "sb-dev"}) == ["stop: its link to the bridge is gone", "start"]
        stale.append(_nspawn.NETWORK_UNIT_PATH)
        assert machine.plan({"vb-dev-cp-1": "sb-dev"}) == ["stop: its address changed", "start"]
        stale.clear()
        monkeypatch.setattr(MachineDirectory, "settings_changed", lambda _: True)
        assert machine.plan({"vb-dev-cp-1": "sb-dev"}) == ["stop: its settings changed", "start"]

    @pytest.mark.parametrize("systemd", [False, True])
    def test_settings_are_compared_with_those_it_was_started_with(
        self, site: Site, tmp_path: Path, monkeypatch: Any, systemd: bool
    ) -> None:
        monkeypatch.setattr(_nspawn, "has_systemd", lambda: systemd)
        monkeypatch.setattr(_nspawn, "UPLINK_RESOLVER", tmp_path / "resolv.conf")

        def described(**changes: Any) -> MachineDirectory:
            machine = MachineDirectory(site, dataclasses.replace(site.machines[0], **changes))
            machine.unit_file = tmp_path / "unit"
            return machine

        machine = described()
        assert machine.settings_changed()
        _nspawn.write(machine.start_script, machine.script())
        _nspawn.write(machine.unit_file, machine.host_unit())
        assert not described().settings_changed()
        assert described(memory_mb=512).settings_changed()
        assert described(data_directories=("/srv",)).settings_changed()
        (tmp_path / "resolv.conf").touch()
        assert not described().settings_changed()

    def test_a_link_that_outlives_its_machine_is_taken_away(self, site: Site, monkeypatch: Any) -> None:
        """After a loss of power, or a killed CI job, the kernel may keep a node's network namespace for good."""
        lines: list[list[str]] = []
        monkeypatch.setattr(_nspawn, "run", lambda line: lines.append(list(line)))
        machine = MachineDirectory(site, site.machines[0])
        machine.path.mkdir(parents=True)
        done = _nspawn.absent(site, dry_run=False)
        assert done[machine.machine.name] == ["remove"]
        assert ["ip", "link", "delete", "dev", machine.link] in lines
        assert sum(line[:2] == ["ip", "link"] for line in lines) == 1

    def test_links_are_found_by_their_whole_names(self, site: Site, monkeypatch: Any) -> None:
        """As of `ip -json link show`: a name of 16 characters is shortened by a hash."""
        links = [
            {"ifname": "vb-dev-worker-1", "flags": ["UP"], "master": "sb-dev"},
            {"ifname": "vb-dev-workR3qh", "flags": ["UP"], "master": "sb-dev", "altnames": ["vb-dev-worker-10"]},
            {"ifname": "vb-dev-cp-1", "flags": []},
        ]
        monkeypatch.setattr(_nspawn, "run", lambda *_: json.dumps(links))
        found = _nspawn.bridges_of_links()
        assert found["vb-dev-worker-1"] == found["vb-dev-worker-10"] == "sb-dev"
        assert found["vb-dev-cp-1"] == ""

    def test_a_layer_without_the_root_below_it_is_named_before_anything_is_stopped(
        self, site: Site, tmp_path: Path, monkeypatch: Any
    ) -> None:
        plan = {"cp-1": ["stop: its settings changed", "start"], "worker-1": []}
        monkeypatch.setattr(_nspawn, "plans", lambda _: plan)
        monkeypatch.setattr(_nspawn, "shut_down", lambda *_: pytest.fail("it was shut down"))
        _nspawn.write(site.library / "cp-1/lower", str(tmp_path / "gone"))
        with pytest.raises(NspawnError, match=rf"cp-1 can't start: .*{tmp_path}/gone.*make down, make up"):
            _nspawn.present(site, timeout=0)

    def test_what_runs_and_does_not_answer_is_named(self, site: Site, monkeypatch: Any) -> None:
        monkeypatch.setattr(_nspawn, "plans", lambda _: {"cp-1": [], "worker-1": []})
        monkeypatch.setattr(MachineDirectory, "pid", lambda _: 7)
        monkeypatch.setattr(MachineDirectory, "answers", lambda item: item.machine.name == "cp-1")
        monkeypatch.setattr(MachineDirectory, "why_not_up", lambda _: "sshd has ended")
        with pytest.raises(NspawnError, match=r"(?s)worker-1 .*sshd has ended.*`sudo kill 7`") as raised:
            _nspawn.present(site, timeout=0.01)
        assert "cp-1" not in str(raised.value)

    def test_machines_that_the_inventory_no_longer_names_are_found(self, site: Site, monkeypatch: Any) -> None:
        for name in ("cp-1", "worker-2"):
            _nspawn.write(site.library / name / "lower", "/root-fs")
        _nspawn.write(site.library / "endpoint/pid", "1")
        found = _nspawn.unlisted(site)
        assert [item.machine.name for item in found] == ["worker-2"]
        monkeypatch.setattr(MachineDirectory, "pid", lambda _: 7)
        monkeypatch.setattr(_nspawn, "has_systemd", lambda: False)
        removal = found[0].removal()
        assert removal == f"kill 7; tail --pid=7 -f /dev/null; rm -r --one-file-system {site.library}/worker-2"
        monkeypatch.setattr(_nspawn, "has_systemd", lambda: True)
        assert found[0].removal().startswith("systemctl stop cicd-sandbox-dev-worker-2.service; ")

    def test_a_link_is_that_of_the_whole_name(self, site: Site, monkeypatch: Any) -> None:
        """Cut off after 15 characters, the link of worker-10 is that of worker-1."""
        lines: list[list[str]] = []

        def no_such_link(line: list[str], **_: Any) -> str:
            lines.append(line)
            raise NspawnError("Cannot find device")

        monkeypatch.setattr(_nspawn, "run", no_such_link)
        machine = MachineDirectory(site, Machine("worker-10", ipaddress.IPv4Address("198.18.0.40")))
        assert not machine.link_up()
        assert lines == [["ip", "link", "set", "dev", "vb-dev-worker-10", "up"]]

    @pytest.mark.parametrize("unified", [False, True])
    def test_what_outlived_systemd_nspawn_is_found_and_ended(
        self, site: Site, tmp_path: Path, monkeypatch: Any, unified: bool
    ) -> None:
        monkeypatch.setattr(_nspawn, "CGROUPS", tmp_path / "cgroup")
        monkeypatch.setattr(_nspawn, "has_systemd", lambda: False)
        machine = MachineDirectory(site, site.machines[0])
        _nspawn.write(machine.path / "lower", "/root-fs")
        hierarchy = tmp_path / "cgroup" / ("" if unified else "pids")
        hierarchy.mkdir(parents=True)
        group = hierarchy / machine.cgroup / "payload"
        if unified:
            _nspawn.write(tmp_path / "cgroup/cgroup.controllers", "pids")
        assert machine.plan({}) == ["start"]
        orphan = subprocess.Popen(["sleep", "60"])
        _nspawn.write(group / "cgroup.procs", f"0\n{orphan.pid}\n")
        assert machine.pid() is None
        assert machine.runs()
        assert machine.plan({}) == ["end what is left of it", "start"]
        machine.kill()
        assert orphan.wait(timeout=10) == -signal.SIGKILL


def test_trees_are_removed_with_all_that_is_in_them(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("one", "two"):
        deep = tmp_path / name / "a/b/c/d/e/f/g"
        deep.mkdir(parents=True)
        (deep / "file").write_text("x")
        (tmp_path / name / "a/link").symlink_to(kept)
    _nspawn.remove_trees([tmp_path / "one", tmp_path / "two"])
    assert list(tmp_path.iterdir()) == [kept]
    _nspawn.remove_trees([])


def test_a_file_is_written_only_when_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert _nspawn.write(path, "x", 0o600)
    assert not _nspawn.write(path, "x", 0o600)
    assert _nspawn.write(path, "x", 0o644)
    assert _nspawn.write(path, "y", 0o644)
    assert [entry.name for entry in path.parent.iterdir()] == ["b"]


def test_a_command_that_is_missing_or_fails_is_named() -> None:
    with pytest.raises(NspawnError, match="no-such-program is not installed"):
        _nspawn.run(["no-such-program"])
    with pytest.raises(NspawnError, match="false ended with 1"):
        _nspawn.run(["false"])


def test_nothing_is_to_be_removed_where_nft_was_never_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ip").write_text("#!/bin/sh\necho '[]'\n")
    (tmp_path / "ip").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _nspawn.network_absent(network_from("t-none", "198.18.99.0/24"), tmp_path, dry_run=False) == []
