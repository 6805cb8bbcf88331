"""What the API's clients saw while control planes were stopped and started again."""

from __future__ import annotations

import subprocess
import time

import pytest
from api_answers import LONGEST, STATE, gaps, problems, read


@pytest.mark.parametrize("plane", ["cp-2", "cp-1"])
def test_the_api_goes_on_answering_without(plane: str) -> None:
    stopped, back = (float((STATE / f"{plane}-{event}").read_text()) for event in ("stopped", "back"))
    found = gaps(read("answers-stopped"), stopped - 1, back + 1)
    assert len(found) > 20
    assert found[0] < LONGEST, found[:5]


def test_few_questions_have_to_be_repeated() -> None:
    found = problems(read("answers-stopped"))
    assert len(found) <= 10, found


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
