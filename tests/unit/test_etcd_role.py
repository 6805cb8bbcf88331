# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Task files of role etcd and what others know of its members, on this host and with programs that only pretend."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY, load
from playbook_run import run_playbook

MEMBERS = ["etcd-1", "etcd-2", "etcd-3"]
STANDING = {"healthy": True, "active": True, "enabled": True, "outdated": False, "data": True}


class Site:
    """An inventory in a directory of its own; all of its hosts are this one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.variables: dict[str, Any] = {
            # The lock of a sandbox is the whole machine's.
            "sandbox_name": f"t-{os.getpid()}",
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "sandbox_state_directory": str(directory / "state"),
            "etcd_directory": str(directory / "etcd"),
        }
        self.groups: dict[str, dict[str, dict[str, Any]]] = {
            "infra": {"infra-1": {"ansible_host": "198.18.0.2"}},
            "etcd": {name: {"ansible_host": f"198.18.0.1{name[-1]}"} for name in MEMBERS},
            "control_plane": {"cp-1": {"ansible_host": "198.18.0.21"}},
            "workers": {},
        }
        self.group_variables: dict[str, dict[str, Any]] = {}
        # Stronger than a role's own variables.
        self.extra: dict[str, Any] = {
            "__etcd_pki": str(directory / "pki"),
            "__etcd_programs": str(directory),
        }
        self.succeeded = False

    def program(self, name: str, script: str) -> None:
        (self.directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.directory / name).chmod(0o755)

    def said(self, *tasks: dict[str, Any], hosts: str = "etcd") -> list[str]:
        """Run tasks; give what they said: messages of failures and of debug."""
        children = {
            name: {"hosts": members, "vars": self.group_variables.get(name, {})}
            for name, members in self.groups.items()
        }
        inventory = {"all": {"vars": self.variables, "children": children}}
        play = {"hosts": hosts, "gather_facts": False, "any_errors_fatal": True, "tasks": list(tasks)}
        (self.directory / "hosts.yml").write_text(yaml.safe_dump(inventory))
        (self.directory / "play.yml").write_text(yaml.safe_dump([play]))
        (self.directory / "extra.yml").write_text(yaml.safe_dump(self.extra))
        arguments = [f"--inventory={self.directory}/hosts.yml", f"--extra-vars=@{self.directory}/extra.yml"]
        run = run_playbook(self.directory / "play.yml", *arguments, programs=self.directory, fails=None)
        self.succeeded = run.returncode == 0
        return [
            str(answer.result["msg"])
            for answer in run.answers
            if "msg" in answer.result and (answer.failed or str(answer.result.get("action")).endswith("debug"))
        ]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def part(name: str, role: str = "etcd", **variables: Any) -> dict[str, Any]:
    """Include a part of a role; its variables stay for the tasks that follow."""
    role_of = {"name": f"cicd.sandbox.{role}", "tasks_from": name, "public": True}
    return {"ansible.builtin.include_role": role_of, "vars": variables}


def debug(expression: str) -> dict[str, Any]:
    return {"ansible.builtin.debug": {"msg": "{{ " + expression + " }}"}}


# --- who the members are ----------------------------------------------------------------------------------------------


def test_every_host_knows_members_that_only_their_own_group_describes(site: Site) -> None:
    site.group_variables["etcd"] = {"etcd_members": 2, "etcd_client_port": 12379}
    site.groups["etcd"]["etcd-2"]["etcd_address"] = "etcd-2.lan"
    expected = "['https://198.18.0.11:12379', 'https://etcd-2.lan:12379']"
    cluster = {"ansible.builtin.include_vars": {"dir": f"{REPOSITORY}/roles/cluster/vars/main"}}
    said = site.said(part("main", role="sandbox"), cluster, debug("__cluster_etcd_endpoints"), hosts="control_plane")
    assert said == [expected]


@pytest.mark.parametrize("group", ["all", "etcd"])
def test_members_are_the_same_for_their_role_and_for_others(site: Site, group: str) -> None:
    (site.directory / "state/pki/etcd").mkdir(parents=True)
    for name in ("ca.crt", "ca.key"):
        (site.directory / "state/pki/etcd" / name).touch()
    site.group_variables["etcd"] = {"etcd_members": 1} if group == "etcd" else {}
    site.variables |= {"etcd_members": 1} if group == "all" else {}
    said = site.said(part("preflight"), debug("__etcd_hosts"), debug("__etcd_peer_urls"), hosts="etcd-3")
    assert said == ["['etcd-1']", "{'etcd-1': 'https://198.18.0.11:2380'}"]
    assert site.said(part("main", role="sandbox"), debug("sandbox_etcd_hosts"), hosts="cp-1") == ["['etcd-1']"]


def test_members_are_all_hosts_of_the_group_where_nothing_else_is_said(site: Site) -> None:
    port = load(REPOSITORY / "roles/etcd/defaults/main.yml")["etcd_client_port"]
    said = site.said(part("main", role="sandbox"), debug("sandbox_etcd_endpoints"), hosts="cp-1")
    assert said == [str([f"https://198.18.0.1{number}:{port}" for number in (1, 2, 3)])]


# --- what is refused before anything changes --------------------------------------------------------------------------


def test_members_whose_authority_the_controller_lost_are_not_given_a_new_one(site: Site) -> None:
    assert site.said(part("preflight")) == []
    (site.directory / "pki").mkdir()
    (site.directory / "pki/ca.crt").touch()
    said = " ".join(site.said(part("preflight")))
    assert [name for name in MEMBERS if f"{name} is a member of etcd already" not in said] == []
    assert f"{site.directory}/state/pki/etcd/ca.key" in said
    assert "backup" in said


def test_data_without_the_controllers_authority_is_left_alone_too(site: Site) -> None:
    (site.directory / "etcd/data/member/wal").mkdir(parents=True)
    (site.directory / "etcd/data/member/wal/0.wal").touch()
    assert "already" in " ".join(site.said(part("preflight")))


@pytest.mark.parametrize(("heartbeat", "election"), [(250, 1249), (250, 50001)])
def test_times_that_etcd_refuses_are_refused_before_a_member_is_restarted(
    site: Site, heartbeat: int, election: int
) -> None:
    site.variables |= {"etcd_heartbeat_milliseconds": heartbeat, "etcd_election_milliseconds": election}
    said = " ".join(site.said(part("preflight")))
    assert f"etcd_heartbeat_milliseconds is {heartbeat}, etcd_election_milliseconds {election}" in said


# --- one member after the other ---------------------------------------------------------------------------------------

SYSTEMCTL = """\
case "$*" in
*show*) echo LoadState=loaded; echo ActiveState=$(cat {directory}/active); echo UnitFileState=enabled ;;
*stop*) echo inactive > {directory}/active; echo stop >> {directory}/calls ;;
*start*) echo {after} > {directory}/active; echo start >> {directory}/calls ;;
*is-enabled*) echo enabled ;;
esac
"""
STATUS = REPOSITORY / "tests/unit/fixtures/etcd/endpoint_status.json"
LIST = REPOSITORY / "tests/unit/fixtures/etcd/member_list.json"


def restart(site: Site, *, outdated: list[str], after: str = "active") -> list[str]:
    """Have outdated members restarted, after which their service is in a state; give the calls of systemctl."""
    (site.directory / "active").write_text("active\n")
    (site.directory / "calls").touch()
    site.program("systemctl", SYSTEMCTL.format(directory=site.directory, after=after))
    site.program("etcdctl", f'case "$*" in *status*) cat {STATUS} ;; *) cat {LIST} ;; esac')
    site.program("journalctl", "echo 'expected a number'")
    site.variables["etcd_timeout"] = 0
    for name in MEMBERS:
        site.groups["etcd"][name]["__etcd_found"] = {**STANDING, "outdated": name in outdated}
    site.variables["__etcd_plan"] = {"action": "keep"}
    site.said(part("service"))
    return (site.directory / "calls").read_text().split()


def test_nothing_is_restarted_where_all_run_with_what_is_configured(site: Site) -> None:
    assert restart(site, outdated=[]) == []
    assert site.succeeded


def test_outdated_members_are_restarted(site: Site) -> None:
    assert restart(site, outdated=["etcd-1", "etcd-3"]) == ["stop", "start"] * 2
    assert site.succeeded


def test_a_member_that_does_not_come_back_is_the_last_that_was_restarted(site: Site) -> None:
    assert restart(site, outdated=MEMBERS, after="activating") == ["stop", "start"]
    assert not site.succeeded


# --- alarms and defragmentation ---------------------------------------------------------------------------------------


def defragment(site: Site, *, disarm: bool = False, away: str = "", problem: str = "") -> tuple[list[str], list[str]]:
    """Run what the playbook runs, etcd-1 leading; give what was done, and what was said."""
    (site.directory / "active").write_text("active\n")
    site.program("systemctl", SYSTEMCTL.format(directory=site.directory, after="active"))
    site.program("journalctl", "echo 'no quorum'")
    # Each member has a port of its own: they share this host.
    ids = f"""id=$(echo "$*" | sed 's/.*127.0.0.1:1237\\([0-9]\\).*/\\1/'); [ "$id" != "{away[-1:]}" ] || exit 1"""
    status = (
        f"""sed "s/\\"member_id\\": *[0-9]*/\\"member_id\\":$id/; s/\\"leader\\": *[0-9]*/\\"leader\\":1/" {STATUS}"""
    )
    site.program("etcdctl", f'{ids}\ncase "$*" in *status*) {status} ;; *) cat {LIST} ;; esac')
    site.extra["__etcd_defragment_program"] = f"{site.directory}/defragment-{{{{ inventory_hostname }}}}"
    for name in MEMBERS:
        site.groups["etcd"][name]["etcd_client_port"] = f"1237{name[-1]}"
        answer = (
            f"""[ "$1" != now ] || [ {name} != "{problem}" ] || {{ echo '{{"problem": "etcd-1 is away"}}'; exit 1; }}"""
        )
        said = """echo '{"disarmed": ["NOSPACE 2"]}'"""
        site.program(f"defragment-{name}", f'echo "{name} $1" >> {site.directory}/done\n{answer}\n{said}')
    site.variables["etcd_defragment_disarm"] = disarm
    (site.directory / "done").touch()
    said_by = site.said(part("compact"))
    return (site.directory / "done").read_text().splitlines(), said_by


def test_members_are_defragmented_one_after_the_other_the_leader_last(site: Site) -> None:
    done, said = defragment(site)
    assert site.succeeded, said
    assert done == ["etcd-1 compact", "etcd-2 now", "etcd-3 now", "etcd-1 now"]


def test_alarms_are_disarmed_on_request_alone(site: Site) -> None:
    assert defragment(site, disarm=True)[0][-1] == "etcd-1 disarm"
    assert site.succeeded


def test_nothing_is_defragmented_where_a_member_does_not_answer(site: Site) -> None:
    done, said = defragment(site, away="etcd-3", disarm=True)
    assert not site.succeeded
    assert done == []
    assert "etcd-3 is not healthy" in " ".join(said)


def test_what_keeps_one_member_from_it_keeps_the_others_too(site: Site) -> None:
    done, said = defragment(site, problem="etcd-2", disarm=True)
    assert not site.succeeded
    assert done == ["etcd-1 compact", "etcd-2 now"]
    assert "etcd-1 is away" in " ".join(said)


# --- join file, snapshot, restore -------------------------------------------------------------------------------------


def test_a_join_file_of_an_earlier_run_goes_before_members_are_looked_at() -> None:
    tasks = load(REPOSITORY / "roles/etcd/tasks/install.yml")
    files = next(task["cicd.sandbox.text_files"]["files"] for task in tasks if "cicd.sandbox.text_files" in task)
    assert {"path": "{{ __etcd_join_file }}", "state": "absent"} in files


def test_a_snapshot_takes_as_long_as_it_needs(site: Site) -> None:
    site.program("etcdctl", f'echo "$*" > {site.directory}/line; for file; do :; done; touch "$file"')
    site.program("etcdutl", """echo '{"revision": 1, "totalKey": 2}'""")
    site.variables["__etcd_found"] = {"cluster_id": "c1"}
    place = {"__etcd_remote": f"{site.directory}/s.db", "__etcd_local": f"{site.directory}/state/backups/etcd/s"}
    (said,) = site.said(part("save", **place), hosts="etcd-1")
    assert "revision 1, 2 keys" in said
    line = (site.directory / "line").read_text()
    assert "snapshot save" in line
    assert "--command-timeout" not in line


def test_a_snapshot_is_named_from_where_the_user_is(site: Site) -> None:
    """A module looks for a relative path beside the playbook: after the restore was found to be possible."""
    snapshot = site.directory / "s.db"
    snapshot.write_text("snapshot")
    site.program("etcdutl", f'cat "$3" > {site.directory}/restored; exit 1')
    site.extra |= {"__etcd_remote": f"{site.directory}/remote.db", "__etcd_restored": f"{site.directory}/new"}
    site.extra |= {"__etcd_restored_token": "t", "__etcd_peer_urls": {"etcd-1": "https://198.18.0.11:2380"}}
    site.extra["etcd_restore_snapshot"] = os.path.relpath(snapshot, REPOSITORY)
    said = site.said(part("restore_data"), hosts="etcd-1")
    assert (site.directory / "restored").read_text() == "snapshot", said


def test_the_api_server_is_looked_for_where_it_always_listens(site: Site) -> None:
    site.groups["control_plane"]["cp-1"] = {"etcd_address": "127.0.0.9"}
    site.extra["__etcd_api_server_manifest"] = str(site.directory / "none.yaml")
    listener = socket.create_server(("127.0.0.1", 0))
    site.extra["__etcd_api_server_port"] = listener.getsockname()[1]
    listener.settimeout(30)
    asked: list[str] = []

    def end_when_asked() -> None:
        with listener:
            connection, _ = listener.accept()
            asked.append(connection.getsockname()[0])
            connection.close()

    thread = Thread(target=end_when_asked)
    thread.start()
    site.said(part("api_server_stop"), hosts="cp-1")
    thread.join()
    assert asked == ["127.0.0.1"]


@pytest.mark.parametrize("step", ["api_server_stop", "api_server_start"])
def test_an_api_server_that_is_waited_for_in_vain_says_why(site: Site, step: str) -> None:
    """Its host's services and its own last words are told."""
    aside = site.directory / "aside.yaml"
    aside.touch()
    log = site.directory / "pods/kube-system_kube-apiserver-cp-1_1/kube-apiserver/7.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-11-29T22:00:00Z stderr F Error: etcd is gone\n", encoding="utf-8")
    site.program("systemctl", "echo Id=kubelet.service; echo LoadState=loaded; echo ActiveState=failed")
    site.program("journalctl", "echo no swap, please")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        site.extra |= {
            "__etcd_api_server_port": listener.getsockname()[1] if step == "api_server_stop" else 1,
            "__etcd_api_server_aside": str(aside),
            "__etcd_api_server_manifest": str(site.directory / "none.yaml"),
            "__etcd_api_server_ca": None,
            "__etcd_api_server_looks": 1,
            "__etcd_pod_logs": str(site.directory / "pods"),
        }
        said = site.said(part(step), hosts="cp-1")[-1].splitlines()
    words = (
        "still listens 2 s after" if step == "api_server_stop" else "is not ready 2 s after its manifest was put back:"
    )
    assert said[0].startswith(f"The API server on cp-1 {words}")
    assert said[1:] == [
        "kubelet.service is failed. It wrote last:",
        "  no swap, please",
        f"{log} ends with:",
        "  Error: etcd is gone",
    ]
    assert not site.succeeded


def test_a_member_that_is_awaited_in_vain_tells_its_last_words(site: Site) -> None:
    site.program("systemctl", "echo ActiveState=activating")
    site.program("journalctl", "echo one; echo two")
    (said,) = site.said(part("await", __etcd_awaited=["etcd-1"], etcd_timeout=0), hosts="etcd-1")
    assert said.splitlines()[-3:-1] == ["one", "two"]


PROMOTION = """\
echo x >> {directory}/tries
[ "$(wc -l < {directory}/tries)" -gt {waits} ] || {{ echo "{first}" >&2; exit 1; }}
[ -z "{then}" ] || {{ echo "{then}" >&2; exit 1; }}
"""
BEHIND = "Error: etcdserver: can only promote a learner member which is in sync with leader"


@pytest.mark.parametrize(
    ("then", "succeeds"),
    [
        ("", True),
        ("Error: etcdserver: can only promote a learner member", True),
        ("Error: etcdserver: member not found", False),
    ],
    ids=["in sync", "done by an attempt whose answer was lost", "gone"],
)
def test_a_learner_is_promoted_as_soon_as_it_has_caught_up(site: Site, then: str, succeeds: bool) -> None:
    """What waiting can't change ends it, well or not."""
    script = PROMOTION.format(directory=site.directory, waits=2, first=BEHIND, then=then)
    site.program("etcdctl", script)
    learner = {"__etcd_learner": {"name": "etcd-3", "id": "1"}, "__etcd_plan": {"through": "etcd-1"}}
    site.said(part("promote", etcd_timeout=20, **learner))
    assert (site.succeeded, (site.directory / "tries").read_text()) == (succeeds, "x\n" * 3)


def test_an_interrupted_restore_is_named_before_the_cluster_is_touched(site: Site) -> None:
    site.extra["__cluster_found_names"] = ["kubelet.conf", "kube-apiserver.yaml.etcd-restore"]
    site.extra["__cluster_lost_files"] = []
    said = " ".join(site.said(part("preflight", role="cluster"), hosts="cp-1"))
    assert "etcd_restore.yml" in said
    assert "cp-1" in said
