# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for an etcd cluster: above all, that a lost cluster is never replaced by an empty one."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.cicd.sandbox.plugins.filter import etcd_arithmetic, etcd_plan
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.plan import (
    Found,
    Listed,
    Plan,
    arithmetic,
    make_plan,
    quorum,
)

NAMES = ["etcd-1", "etcd-2", "etcd-3"]
URLS = {name: f"https://198.18.0.1{name[-1]}:2380" for name in [*NAMES, "etcd-4", "etcd-5"]}
DECLARED = {name: URLS[name] for name in NAMES}
MARKER = {"state": "bootstrapped", "token": "dev-1", "cluster_id": "c1", "members": NAMES}
BEGUN = {"state": "bootstrapping", "token": "dev-1", "cluster_id": "", "members": NAMES}


def listed(name: str, *, learner: bool = False) -> Listed:
    return Listed(f"id-{name}", name, (URLS[name],), learner)


MEMBERS = tuple(listed(name) for name in NAMES)


def healthy(name: str, members: tuple[Listed, ...] = MEMBERS, cluster: str = "c1") -> Found:
    return Found(name, data=True, healthy=True, cluster_id=cluster, members=members)


def stopped(name: str) -> Found:
    return Found(name, data=True)


def empty(name: str) -> Found:
    return Found(name)


def test_nothing_found_and_nothing_remembered_makes_a_cluster() -> None:
    assert make_plan(DECLARED, [empty(name) for name in NAMES], None).action == "bootstrap"


def test_a_standing_cluster_is_kept() -> None:
    plan = make_plan(DECLARED, [healthy(name) for name in NAMES], MARKER)
    assert plan == Plan("keep", cluster_id="c1", through="etcd-1")


def with_alarm(name: str, kind: str = "NOSPACE", who: str = "id-etcd-2", **changes: Any) -> Found:
    return replace(healthy(name, **changes), alarms=((kind, who),))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("NOSPACE", "takes no writes until the alarm is disarmed, also when there is room again"),
        ("CORRUPT", "Move its data directory away and run this again"),
    ],
)
def test_a_cluster_with_an_alarm_is_not_kept_without_a_word(kind: str, words: str) -> None:
    plan = make_plan(DECLARED, [with_alarm(name, kind) for name in NAMES], MARKER)
    assert plan.action == "alarm"
    assert plan.reason == plan.alarm
    assert f"The alarm {kind} stands (raised by etcd-2)" in plan.reason
    assert words in plan.reason
    assert "playbooks/etcd_defragment.yml -e etcd_defragment_disarm=true" in plan.reason


def test_one_member_is_enough_to_know_of_an_alarm() -> None:
    assert make_plan(DECLARED, [healthy("etcd-1"), with_alarm("etcd-2"), healthy("etcd-3")], MARKER).action == "alarm"


def test_with_an_alarm_members_are_mended_all_the_same() -> None:
    """A corrupt member whose data was moved away is the way out of its alarm."""
    found = [with_alarm("etcd-1", "CORRUPT"), empty("etcd-2"), with_alarm("etcd-3", "CORRUPT")]
    plan = make_plan(DECLARED, found, MARKER)
    assert (plan.action, plan.join) == ("change", ("etcd-2",))
    assert "CORRUPT" in plan.alarm
    stranger = [with_alarm(name, who="id-of-another") for name in NAMES]
    assert "id-of-another, which is no member any more" in make_plan(DECLARED, stranger, MARKER).alarm


def test_a_standing_cluster_without_marker_is_adopted() -> None:
    assert make_plan(DECLARED, [healthy(name) for name in NAMES], None).action == "keep"


def test_all_data_gone_is_refused() -> None:
    plan = make_plan(DECLARED, [empty(name) for name in NAMES], MARKER)
    assert plan.action == "refuse"
    assert "etcd_restore" in plan.reason
    assert "none" in plan.reason


def test_two_of_three_lost_is_refused_and_says_what_to_do() -> None:
    plan = make_plan(DECLARED, [stopped("etcd-1"), empty("etcd-2"), empty("etcd-3")], MARKER)
    assert plan.action == "refuse"
    assert "only 1 still has data (etcd-1); the data of etcd-2, etcd-3 is gone" in plan.reason
    assert "etcd_restore_snapshot" in plan.reason


def test_two_of_three_lost_is_refused_without_a_marker_too() -> None:
    plan = make_plan(DECLARED, [stopped("etcd-1"), empty("etcd-2"), empty("etcd-3")], None)
    assert plan.action == "refuse"


def test_what_counts_is_the_cluster_that_was_not_the_one_declared_now() -> None:
    one = {"etcd-1": URLS["etcd-1"]}
    assert make_plan(one, [stopped("etcd-1")], MARKER).action == "refuse"


def test_a_stopped_cluster_that_is_to_shrink_is_not_called_lost() -> None:
    plan = make_plan({"etcd-1": URLS["etcd-1"]}, [stopped("etcd-1")], MARKER)
    assert "etcd_members" in plan.reason
    assert "etcd-2, etcd-3 are not declared" in plan.reason
    assert "back to 3" in plan.reason
    assert "gone" not in plan.reason


def test_a_loss_is_named_beside_members_that_are_not_declared() -> None:
    plan = make_plan({name: URLS[name] for name in NAMES[:2]}, [stopped("etcd-1"), empty("etcd-2")], MARKER)
    assert "etcd-3 is not declared" in plan.reason
    assert "etcd-2 has no data" in plan.reason
    assert "back to 3" in plan.reason


@pytest.mark.parametrize("data", list(product([True, False], repeat=3)))
def test_no_loss_ever_leads_to_a_new_cluster(data: tuple[bool, ...]) -> None:
    found = [Found(name, data=has) for name, has in zip(NAMES, data, strict=True)]
    assert make_plan(DECLARED, found, MARKER).action == ("start" if sum(data) >= 2 else "refuse")


def test_an_interrupted_first_start_goes_on() -> None:
    assert make_plan(DECLARED, [stopped("etcd-1"), empty("etcd-2"), empty("etcd-3")], BEGUN).action == "bootstrap"


def test_an_interrupted_first_start_that_succeeded_is_kept_and_remembered() -> None:
    plan = make_plan(DECLARED, [healthy(name) for name in NAMES], BEGUN)
    assert (plan.action, plan.remember) == ("keep", True)
    # What the role then writes: a loss is a loss from here on.
    marker = {**BEGUN, "state": "bootstrapped", "cluster_id": plan.cluster_id}
    assert make_plan(DECLARED, [empty(name) for name in NAMES], marker).action == "refuse"


@pytest.mark.parametrize(
    ("marker", "differs"),
    [
        (MARKER, False),
        ({**MARKER, "cluster_id": ""}, True),
        ({**MARKER, "state": "bootstrapping"}, True),
        ({**MARKER, "members": NAMES[:2]}, True),
        ({}, True),
    ],
)
def test_a_kept_cluster_is_remembered_where_the_marker_differs(marker: dict[str, Any], differs: bool) -> None:
    plan = make_plan(DECLARED, [healthy(name) for name in NAMES], marker)
    assert (plan.action, plan.remember) == ("keep", differs)


def test_a_lost_member_is_replaced() -> None:
    plan = make_plan(DECLARED, [healthy("etcd-1"), empty("etcd-2"), healthy("etcd-3")], MARKER)
    assert (plan.action, plan.remember) == ("change", True)
    assert plan.remove == (listed("etcd-2"),)
    assert plan.join == ("etcd-2",)
    assert plan.through == "etcd-1"


def undermined(name: str) -> Found:
    """A member whose files were removed below it: it answers until it ends."""
    return Found(name, healthy=True, cluster_id="c1", members=MEMBERS)


def test_a_member_that_runs_without_its_files_is_replaced_through_another() -> None:
    plan = make_plan(DECLARED, [undermined("etcd-1"), healthy("etcd-2"), healthy("etcd-3")], MARKER)
    assert (plan.action, plan.join, plan.through) == ("change", ("etcd-1",), "etcd-2")


def test_who_still_answers_is_removed_after_who_does_not() -> None:
    plan = make_plan(DECLARED, [undermined("etcd-1"), empty("etcd-2"), healthy("etcd-3")], MARKER)
    assert plan.remove == (listed("etcd-2"), listed("etcd-1"))
    assert plan.through == "etcd-3"


def test_a_cluster_without_any_files_is_not_touched() -> None:
    plan = make_plan(DECLARED, [undermined(name) for name in NAMES], MARKER)
    assert plan.action == "refuse"
    assert "etcd-1, etcd-2, etcd-3 still answer" in plan.reason
    assert "etcd_snapshot.yml" in plan.reason


def test_an_interrupted_replacement_begins_again() -> None:
    """Added but never started: it has no name yet, only its peer URL tells whose it is."""
    unstarted = Listed("id-new", "", (URLS["etcd-2"],), learner=True)
    members = (listed("etcd-1"), unstarted, listed("etcd-3"))
    plan = make_plan(DECLARED, [healthy("etcd-1", members), empty("etcd-2"), healthy("etcd-3", members)], MARKER)
    assert plan.remove == (unstarted,)
    assert plan.join == ("etcd-2",)
    assert plan.promote == ()


def test_an_interrupted_promotion_is_made_up_for() -> None:
    members = (listed("etcd-1"), listed("etcd-2", learner=True), listed("etcd-3"))
    learner = Found("etcd-2", data=True, healthy=True, cluster_id="c1")
    plan = make_plan(DECLARED, [healthy("etcd-1", members), learner, healthy("etcd-3", members)], MARKER)
    assert plan.action == "change"
    assert [member.name for member in plan.promote] == ["etcd-2"]
    assert plan.remove == plan.retire == ()
    assert plan.join == ()


def test_members_with_data_are_started_before_anybody_is_replaced() -> None:
    plan = make_plan(DECLARED, [healthy("etcd-1"), stopped("etcd-2"), empty("etcd-3")], MARKER)
    assert plan.action == "start"
    assert plan.start == ("etcd-2",)


def test_after_a_reboot_all_are_started() -> None:
    plan = make_plan(DECLARED, [stopped(name) for name in NAMES], MARKER)
    assert plan.action == "start"
    assert plan.start == tuple(NAMES)


def test_a_cluster_grows() -> None:
    five = dict(list(URLS.items()))
    found = [*(healthy(name) for name in NAMES), empty("etcd-4"), empty("etcd-5")]
    plan = make_plan(five, found, MARKER)
    assert plan.action == "change"
    assert plan.join == ("etcd-4", "etcd-5")
    assert plan.remove == ()


def test_a_cluster_shrinks() -> None:
    plan = make_plan({"etcd-1": URLS["etcd-1"]}, [healthy("etcd-1")], MARKER)
    assert plan.action == "change"
    assert [member.name for member in plan.retire] == ["etcd-2", "etcd-3"]
    assert plan.join == ()


def test_members_of_another_cluster_are_refused() -> None:
    plan = make_plan(DECLARED, [healthy(name, cluster="c2") for name in NAMES], MARKER)
    assert plan.action == "refuse"
    assert "c2" in plan.reason
    assert "c1" in plan.reason


def test_members_of_two_clusters_are_refused() -> None:
    plan = make_plan(DECLARED, [healthy("etcd-1"), healthy("etcd-2", cluster="c2"), healthy("etcd-3")], MARKER)
    assert plan.action == "refuse"
    assert "etcd-2 to c2" in plan.reason


def test_a_host_that_could_not_be_asked_is_no_lost_member() -> None:
    plan = make_plan(DECLARED, [healthy("etcd-1"), healthy("etcd-3")], MARKER)
    assert plan.action == "refuse"
    assert "etcd-2" in plan.reason


@pytest.mark.parametrize(("members", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)])
def test_quorum(members: int, needed: int) -> None:
    assert quorum(members) == needed


def test_arithmetic_speaks_of_even_numbers_only() -> None:
    assert arithmetic(3) == ""
    assert "4 etcd members need 3 to work: they survive the loss of 1, as 3 would" in arithmetic(4)
    assert "5 survive the loss of 2" in arithmetic(4)


def test_reads_the_result_of_the_module() -> None:
    result: dict[str, Any] = {
        "data": True,
        "healthy": True,
        "cluster_id": "c1",
        "members": [{"id": "a", "name": "etcd-1", "peer_urls": ["https://198.18.0.11:2380"], "learner": False}],
        "alarms": [{"alarm": "NOSPACE", "member_id": "a"}],
        "journal": [],
    }
    found = Found.read("etcd-1", result)
    assert found.members == (Listed("a", "etcd-1", ("https://198.18.0.11:2380",)),)
    assert found.alarms == (("NOSPACE", "a"),)


def test_the_filters_speak_ansible() -> None:
    filters = {**etcd_plan.FilterModule().filters(), **etcd_arithmetic.FilterModule().filters()}
    nothing = {"data": False, "healthy": False, "cluster_id": "", "members": [], "alarms": []}
    plan = filters["etcd_plan"](dict.fromkeys(NAMES, nothing), DECLARED, {})
    assert plan["action"] == "bootstrap"
    assert filters["etcd_arithmetic"](3) == ""
    with pytest.raises(AnsibleFilterError, match="no result of etcd_member_info"):
        filters["etcd_plan"]({"etcd-1": {"skipped": True}}, DECLARED, {})
