# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of encryption at rest: what was ever written stays readable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import jinja2
import pytest
import yaml
from checkout import REPOSITORY

TEMPLATE = REPOSITORY / "roles/cluster/templates/kubernetes/encryption.yml.j2"
Object = dict[str, Any]

PROVIDERS = {"secretbox", "aesgcm", "aescbc"}


def render(provider: str, *resources: str, keys: Sequence[tuple[str, str]] = (("sandbox", "a2V5"),)) -> list[Object]:
    templates = jinja2.Environment(trim_blocks=True, autoescape=jinja2.select_autoescape(default_for_string=False))
    templates.filters["to_json"] = json.dumps
    text = templates.from_string(TEMPLATE.read_text()).render(
        cluster_encryption_provider=provider,
        cluster_encryption_resources=list(resources),
        __cluster_encryption_keys=keys,
    )
    lists: list[Object] = yaml.safe_load(text)["resources"]
    return lists


def names(entry: Object) -> list[str]:
    return [next(iter(provider)) for provider in entry["providers"]]


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_the_chosen_provider_writes_and_all_read(provider: str) -> None:
    listed, others = render(provider, "secrets", "configmaps")
    assert listed["resources"] == ["secrets", "configmaps"]
    assert names(listed)[0] == provider
    assert set(names(listed)) == {*PROVIDERS, "identity"}
    keys = [entry["keys"] for item in listed["providers"] for name, entry in item.items() if name != "identity"]
    assert keys == [[{"name": "sandbox", "secret": "a2V5"}]] * 3

    assert others["resources"] == ["*.*"]
    assert names(others)[0] == "identity"
    assert set(names(others)) == {*PROVIDERS, "identity"}


def test_several_keys_read_and_the_first_one_writes() -> None:
    lists = render("secretbox", "secrets", keys=(("second", "czI="), ("sandbox", "czE=")))
    for provider in (provider for entry in lists for provider in entry["providers"] if "identity" not in provider):
        (known,) = provider.values()
        assert known["keys"] == [{"name": "second", "secret": "czI="}, {"name": "sandbox", "secret": "czE="}]


def test_where_everything_is_listed_nothing_else_is() -> None:
    assert [entry["resources"] for entry in render("aesgcm", "*.*")] == [["*.*"]]
