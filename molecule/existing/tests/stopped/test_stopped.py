"""What the API's clients saw while control planes were stopped and started again."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

STATE = Path(os.environ["SANDBOX_STATE_DIRECTORY"])
# Until the load balancer has found out, a connection may wait as long for a control plane that is gone.
LONGEST = 2.5


def answers() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (STATE / "answers").read_text().splitlines()]


@pytest.mark.parametrize("plane", ["cp-2", "cp-1"])
def test_the_api_goes_on_answering_without(plane: str) -> None:
    stopped, back = (float((STATE / f"{plane}-{event}").read_text()) for event in ("stopped", "back"))
    good = [
        entry["answered"] for entry in answers() if not entry["problem"] and stopped - 1 < entry["asked"] < back + 1
    ]
    gaps = [later - earlier for earlier, later in itertools.pairwise([stopped - 1, *good, back + 1])]
    assert len(good) > 20
    assert max(gaps) < LONGEST, sorted(gaps)[-5:]


def test_few_questions_have_to_be_repeated() -> None:
    problems = [entry["problem"] for entry in answers() if entry["problem"]]
    assert len(problems) <= 10, problems


def test_control_planes_are_ready_again() -> None:
    line = [str(STATE / "bin/kubectl"), f"--kubeconfig={STATE}/kubeconfig", "--request-timeout=20s"]
    deadline = time.monotonic() + 120
    while True:
        asked = [
            *line,
            "get",
            "nodes",
            "--no-headers",
            "--output=custom-columns=:.status.conditions[?(@.type=='Ready')].status",
        ]
        found = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
        if found == ["True"] * 5:
            break
        assert time.monotonic() < deadline, found
        time.sleep(1)
    for plane in ("cp-1", "cp-2"):
        subprocess.run([*line, "get", "configmap", f"without-{plane}"], check=True, capture_output=True)
