"""Runs of the site on the standing sandbox that must change nothing."""

from __future__ import annotations

import pytest
from site_run import changes


@pytest.mark.parametrize("arguments", [["--check"], ["--tags", "apps"], ["--tags", "cluster"], ["--tags", "etcd"]])
def test_a_standing_site_is_not_changed_by(arguments: list[str]) -> None:
    assert changes(*arguments) == []
