# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue: the plans it makes, and that the sandbox's own is sound."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.cicd.sandbox.plugins.doc_fragments.artifact_catalogue import ModuleDocFragment
from ansible_collections.cicd.sandbox.plugins.filter.components_of_roles import components_of_roles
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import (
    CATALOGUE_SPEC,
    Catalogue,
    check_catalogue,
    open_catalogue,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.go import Toolchain
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.image import ImageRecipe, Reference
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.queue import survey
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.versions import filled, known_versions
from checkout import REPOSITORY, load
from playbook_run import run_playbook

GO = {"minimum": "1.26", "fallback": "1.26.5"}
TOOLCHAIN = Toolchain("1.26.8", Path("/usr/bin/go"))
FILES = sorted((REPOSITORY / "roles/sandbox/vars/main/components").glob("*.yml"))
RECIPE = {"module": "example.com/tool", "version": "v1.0.0", "packages": {"tool": ".", "ctl": "./ctl"}}
COMPONENTS: dict[str, Any] = {
    "base": {
        "version": "trixie",
        "needed": 1,
        "images": [{"reference": "debian:trixie-slim", "containerfile": "debian", "debootstrap": {"suite": "trixie"}}],
    },
    "tool": {
        "version": "1.0.0",
        "needed": 3,
        "files": ["ctl"],
        "build": {"go": [RECIPE]},
        "release": [{"url": "https://example.com/ctl", "sums": "https://example.com/ctl.sha256"}],
        "images": [{"reference": "registry.k8s.io/tool:v1.0.0", "containerfile": "tool", "files": ["tool"]}],
    },
    "site": {
        "version": "application",
        "needed": 2,
        "images": [{"reference": "registry.sandbox.internal/site", "application": "apps/site", "official": False}],
    },
}


def declared() -> dict[str, Any]:
    """The sandbox's own components, as they are written."""
    return {path.stem: load(path)[f"sandbox_component_{path.stem}"] for path in FILES}


def versions_of(components: dict[str, Any]) -> dict[str, str]:
    return {name: str(component["version"]) for name, component in components.items()}


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    root = tmp_path / "collection"
    for name, text in {
        "images/debian/Containerfile": "FROM scratch\nADD root.tar /\n",
        "images/tool/Containerfile": "FROM debian:trixie-slim\nCOPY tool /tool\n",
        "apps/site/Dockerfile": "FROM debian:trixie-slim\nCOPY . /app\n",
        "apps/site/package.json": '{"version": "2.1.0"}',
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def catalogue(collection: Path, components: dict[str, Any] | None = None, source: str = "build") -> Catalogue:
    return Catalogue(components or COMPONENTS, collection / "cache", source, collection, TOOLCHAIN)


def test_components_come_in_the_order_of_need(collection: Path) -> None:
    assert catalogue(collection).names == ["base", "site", "tool"]
    assert [plan.name for plan in catalogue(collection).plans(["tool", "base"])] == ["base", "tool"]


def test_an_image_knows_its_base_and_its_programs(collection: Path) -> None:
    plans = catalogue(collection)
    tool = plans.plan("tool")
    (image,) = tool.images
    assert isinstance(image.make, ImageRecipe)
    assert tool.entry is not None
    assert image.make.files == {"tool": tool.entry.directory / "tool"}
    assert image.make.parts == {"tool": tool.entry.key}
    assert [str(base) for base in image.make.bases] == ["docker.io/library/debian:trixie-slim"]
    assert tool.entries == [tool.entry, image.entry]


def test_releases_take_the_place_of_builds(collection: Path) -> None:
    tool = catalogue(collection, source="release").plan("tool")
    assert [release.name for release in tool.releases] == ["ctl"]
    assert tool.recipes == []
    (image,) = tool.images
    assert image.make == Reference.parse("registry.k8s.io/tool:v1.0.0")
    built = catalogue(collection).plan("tool")
    assert tool.entry != built.entry
    assert image.entry != built.images[0].entry


def test_a_program_that_upstream_does_not_publish_is_built_all_the_same(collection: Path) -> None:
    components = copy.deepcopy(COMPONENTS)
    del components["tool"]["release"]
    tool = catalogue(collection, components, source="release").plan("tool")
    assert ([recipe.module for recipe in tool.recipes], tool.releases) == (["example.com/tool"], [])
    assert tool.entry == catalogue(collection, components).plan("tool").entry
    # Of an image it is upstream's own that is taken, and nothing is built for it.
    del components["tool"]["files"]
    assert catalogue(collection, components, source="release").plan("tool").entry is None


def test_an_applications_image_is_tagged_by_version_and_content(collection: Path) -> None:
    (first,) = catalogue(collection).plan("site").images
    assert first.own
    assert first.reference.tag == f"2.1.0-{first.entry.key}"
    (collection / "apps/site/index.js").write_text("changed")
    (second,) = catalogue(collection).plan("site").images
    assert second.reference.tag != first.reference.tag
    # It is built in an open network too: upstream has none.
    (third,) = catalogue(collection, source="release").plan("site").images
    assert isinstance(third.make, ImageRecipe)


def test_sources_beside_a_containerfile_go_into_its_image(collection: Path) -> None:
    components = copy.deepcopy(COMPONENTS)
    components["tool"]["images"][0]["folders"] = {"plugin": "dashboards/plugin"}
    with pytest.raises(ArtifactError, match=r"wants the folder plugin: .*/dashboards/plugin is none"):
        catalogue(collection, components).plan("tool")
    source = collection / "dashboards/plugin"
    (source / "node_modules").mkdir(parents=True)
    (source / "index.ts").write_text("export {}")
    before = catalogue(collection, components).plan("tool").images[0]
    assert isinstance(before.make, ImageRecipe)
    assert before.make.folders == {"plugin": source}
    # What was installed to try it is no source.
    (source / "node_modules/left.js").write_text("")
    assert catalogue(collection, components).plan("tool").images[0].entry == before.entry
    (source / "index.ts").write_text("export default 1")
    assert catalogue(collection, components).plan("tool").images[0].entry != before.entry


def test_an_image_without_a_recipe_is_upstreams_alone(collection: Path) -> None:
    """It is copied as it is, never made anew under its name, and there is none where all is built."""
    components = {**COMPONENTS, "alone": {"version": "1.0.0", "images": [{"reference": "docker.io/alone/alone:1.0.0"}]}}
    released = catalogue(collection, components, source="release")
    (image,) = released.plan("alone").images
    assert (image.make, image.base) == (Reference.parse("docker.io/alone/alone:1.0.0"), False)
    assert "alone" in released.obtainable
    built = catalogue(collection, components)
    assert built.plan("alone").entries == []
    assert built.obtainable == ["base", "site", "tool"]
    with pytest.raises(ArtifactError, match="component alone is upstream's images alone, which can't be had"):
        survey(built, ["alone"])


def test_a_new_base_makes_new_images(collection: Path) -> None:
    before = catalogue(collection).plan("tool").images[0].entry
    (collection / "images/debian/Containerfile").write_text("FROM scratch\nADD root.tar /\nCMD sh\n")
    assert catalogue(collection).plan("tool").images[0].entry != before


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["tool", "tpyo"], 1, "component tool: unknown key tpyo"),
        (["tool", "images", 0, "tpyo"], 1, "unknown key tpyo in an image"),
        (["tool", "build", "go", 0, "tpyo"], 1, "unknown key tpyo in a GoRecipe"),
        (["tool", "images", 0, "parts"], {"none": ["x"]}, "no component 'none'"),
        (["tool", "images", 0, "parts"], {"base": ["x"]}, "wants files of base, which has none"),
        (["tool", "images", 0, "containerfile"], "none", "has no Containerfile"),
    ],
)
def test_a_catalogue_that_can_not_be_meant_is_refused(collection: Path, path: list[Any], value: Any, said: str) -> None:
    components = copy.deepcopy(COMPONENTS)
    place = components
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ArtifactError, match=said):
        catalogue(collection, components).plan("tool")


def test_an_unknown_base_is_told(collection: Path) -> None:
    (collection / "images/tool/Containerfile").write_text("FROM alpine:3\n")
    with pytest.raises(ArtifactError, match="has no image docker"):
        catalogue(collection).plan("tool")


def test_an_unknown_component_is_told(collection: Path) -> None:
    with pytest.raises(ArtifactError, match="no component 'helmet'; it has base, site, tool"):
        catalogue(collection).plan("helmet")
    with pytest.raises(ArtifactError, match="source is 'sideways'"):
        catalogue(collection, source="sideways")


def test_placeholders_stand_for_versions() -> None:
    versions = {"tool": "1.2.3", "debian": "trixie"}
    recipe = {"url": "v{version}/{major}.{minor}-{patch}", "list": ["{debian.version}", "${HOME}", 1], "{key}": True}
    said = {"url": "v1.2.3/1.2-3", "list": ["trixie", "${HOME}", 1], "{key}": True}
    assert filled("tool", recipe, versions) == said
    for text in ("{verison}", "{none.version}", "{tool.build}"):
        with pytest.raises(ArtifactError, match="is not known; there are"):
            filled("tool", text, versions)
    with pytest.raises(ArtifactError, match="is asked for, but the version is trixie"):
        filled("debian", "{minor}", versions)


# --- versions ---------------------------------------------------------------------------------------------------------


def versioned() -> dict[str, Any]:
    """Components of which `tool` is known in two versions, the newer with another module."""
    components = copy.deepcopy(COMPONENTS)
    components["tool"]["build"]["go"] = [
        {
            "module": "example.com/tool",
            "packages": {"tool": ".", "ctl": "./ctl"},
            "versions": {
                "1.0.0": {"version": "v1.0.0", "sum": "h1:x"},
                "1.1.0": {"version": "v1.1.0-rc", "sum": "h1:y"},
            },
        }
    ]
    return components


def check(collection: Path, components: dict[str, Any], source: str = "build", **versions: Any) -> list[str]:
    values = {"components": components, "cache": str(collection / "cache"), "collection": str(collection), "go": GO}
    return check_catalogue({**values, "source": source, "versions": versions})


def test_an_inventory_chooses_among_the_known_versions(collection: Path) -> None:
    components = versioned()
    own = catalogue(collection, components).plan("tool")
    chosen = Catalogue(components, collection, "build", collection, TOOLCHAIN, {"tool": "1.1.0"}).plan("tool")
    assert (own.version, own.recipes[0].version, own.recipes[0].sum) == ("1.0.0", "v1.0.0", "h1:x")
    assert (chosen.version, chosen.recipes[0].version, chosen.recipes[0].sum) == ("1.1.0", "v1.1.0-rc", "h1:y")
    assert check(collection, components, tool="1.1.0") == []
    # As YAML reads 1.10.
    assert check(collection, components, site=1.10) == []


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({"tool": "1.2.0"}, "has tool 1.2.0, of which no build is known. Take 1.0.0 or 1.1.0."),
        ({"tol": "1.0.0"}, "has tol, which is no component. Did you mean tool?"),
        ({"xyz": "1.0.0"}, "has xyz, which is no component. There are base, tool, site."),
    ],
)
def test_versions_that_nothing_is_known_of_are_refused(collection: Path, versions: dict[str, Any], said: str) -> None:
    (finding,) = check(collection, versioned(), **versions)
    assert finding == f"sandbox_component_versions {said}"


def test_releases_are_there_whose_sums_upstream_publishes(collection: Path) -> None:
    components = versioned()
    assert check(collection, components, "release", tool="1.2.0") == []
    components["tool"]["release"][0]["versions"] = ["1.0.0", "1.1.0"]
    (finding,) = check(collection, components, "release", tool="1.2.0")
    assert "tool 1.2.0, of which no release is known. Take 1.0.0 or 1.1.0." in finding


def test_a_version_is_known_where_all_recipes_know_it(collection: Path) -> None:
    components = versioned()
    components["tool"]["images"][0]["versions"] = ["1.1.0", "1.2.0"]
    assert known_versions(components["tool"], "build") == ["1.1.0"]
    assert known_versions(components["site"], "build") is None
    components["tool"]["images"][0]["versions"] = ["1.2.0"]
    assert known_versions(components["tool"], "build") == []
    assert check(collection, components, tool="1.2.0")[0].endswith("of which no build is known. Take it out.")


def test_all_that_is_wrong_with_a_catalogue_is_said(collection: Path) -> None:
    components = versioned()
    components["site"]["images"][0]["application"] = "apps/none"
    components["base"]["tpyo"] = 1
    assert check(collection, components, tool="3") == ["component base: unknown key tpyo"]
    del components["base"]["tpyo"]
    version, application = check(collection, components, tool="3")
    assert "tool 3" in version
    assert "apps/none" in application
    assert check(collection, {"x": "1.0"}) == ["component x: states no version"]


def test_an_inventorys_own_component_lies_beside_it(collection: Path, tmp_path: Path) -> None:
    beside = tmp_path / "mine"
    for name, text in {"images/mine/Containerfile": "FROM tool\n", "apps/shop/Dockerfile": "FROM tool\n"}.items():
        (beside / name).parent.mkdir(parents=True)
        (beside / name).write_text(text.replace("tool", "debian:trixie-slim"))
    (beside / "apps/shop/package.json").write_text('{"version": "1.0.0"}')
    absolute = str(beside / "images/mine")
    images = [
        {"reference": "registry.sandbox.internal/mine", "containerfile": "mine", "official": False},
        {"reference": "registry.sandbox.internal/there", "containerfile": absolute, "official": False},
        {"reference": "registry.sandbox.internal/shop", "application": "apps/shop", "official": False},
    ]
    components = {**COMPONENTS, "mine": {"version": "1", "images": images}}
    values = {"components": components, "cache": str(tmp_path / "cache"), "collection": str(collection), "go": GO}
    assert check_catalogue({**values, "source": "build"}) != []
    plan = open_catalogue({**values, "source": "build", "inventories": [str(beside / "inventory")]}).plan("mine")
    sources = [image.make.source for image in plan.images if isinstance(image.make, ImageRecipe)]
    assert sources == [beside / "images/mine", beside / "images/mine", beside / "apps/shop"]


# --- the sandbox's own ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own() -> dict[str, Any]:
    components = declared()
    return {name: filled(name, component, versions_of(components)) for name, component in components.items()}


def test_a_component_is_a_file_of_its_name() -> None:
    for path in FILES:
        assert list(load(path)) == [f"sandbox_component_{path.stem}"], path


@pytest.mark.parametrize("source", ["build", "release"])
def test_our_catalogue_plans_every_component(own: dict[str, Any], tmp_path: Path, source: str) -> None:
    plans = Catalogue(own, tmp_path, source, REPOSITORY, TOOLCHAIN).plans(own)
    assert len(plans) == len(own)
    # Of the AGPL nothing is built.
    official = {"grafana", "jaeger_query", "loki", "tempo", "tempo_query"}
    assert {plan.name for plan in plans if not plan.entries} == (official if source == "build" else set())
    for plan in plans:
        assert set(plan.tools) <= set(plan.files), plan.name
        made = {name for recipe in plan.recipes for name in recipe.packages}
        made |= {name for release in plan.releases for name in release.members or {release.program or release.name: ""}}
        assert set(plan.files) <= made, plan.name


def test_our_recipes_are_pinned(own: dict[str, Any], tmp_path: Path) -> None:
    for name, component in own.items():
        for version in known_versions(component, "build") or []:
            plan = Catalogue(own, tmp_path, "build", REPOSITORY, TOOLCHAIN, {name: version}).plan(name)
            for recipe in [*plan.recipes, *plan.modules]:
                assert recipe.version.startswith("v"), name
                assert recipe.sum.startswith("h1:"), name
            for image in plan.images:
                assert not isinstance(image.make, ImageRecipe) or bool(image.make.wheel) == bool(image.make.wheel_sum)


def test_our_default_versions_can_be_had(own: dict[str, Any], tmp_path: Path) -> None:
    values = {"components": own, "cache": str(tmp_path), "collection": str(REPOSITORY), "go": GO}
    for source in ("build", "release"):
        assert check_catalogue({**values, "source": source, "versions": versions_of(own)}) == []
    # What is built is known for these alone, beside what has no version of upstream's.
    unknown = [name for name, item in own.items() if known_versions(item, "build") is None]
    assert unknown == ["business_logic", "front_end", "grafana", "jaeger_query", "loki", "tempo", "tempo_query"]


def test_our_components_are_needed_by_roles_that_are_there(own: dict[str, Any]) -> None:
    there = {path.name for path in (REPOSITORY / "roles").iterdir()}
    for name, component in own.items():
        assert set(component["roles"]) <= there, name
    needed = components_of_roles(own, load(REPOSITORY / "roles/artifacts/defaults/main.yml")["artifacts_roles"])
    scanners = {name for name, component in own.items() if component["roles"] == ["scan"]}
    # Role scan has them made when it is asked for.
    assert scanners == {"popeye", "trivy", "kube_score", "govulncheck", "go_vulnerabilities"}
    assert set(own) - set(needed) == {"helm_docs", "gitleaks", "age", "sops", "envoy", *scanners}


def wanted(directory: Path, variables: dict[str, Any]) -> list[str]:
    """Components that are made for the dev inventory with some variables."""
    tasks = [
        {"ansible.builtin.include_role": {"name": "cicd.sandbox.artifacts", "tasks_from": "preflight", "public": True}},
        {"ansible.builtin.debug": {"msg": "{{ __artifacts_wanted }}"}},
    ]
    (directory / "play.yml").write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    values = json.dumps({"sandbox_state_directory": str(directory), **variables})
    run = run_playbook(directory / "play.yml", "--inventory=inventories/dev", f"--extra-vars={values}")
    found: list[str] = run.results()[-1]["msg"]
    return found


@pytest.mark.parametrize(
    ("variables", "there"),
    [
        ({}, True),
        ({"observability_kiali_enabled": False}, False),
        ({"istio_enabled": False}, False),
        ({"observability_enabled": False}, False),
    ],
)
def test_what_looks_at_the_mesh_is_made_where_there_is_one(
    tmp_path: Path, variables: dict[str, Any], *, there: bool
) -> None:
    found = wanted(tmp_path, variables)
    assert ("kiali" in found) is there
    assert "prometheus" in found or variables.get("observability_enabled") is False


@pytest.mark.parametrize(
    ("stack", "source", "expected"),
    [
        ("auto", "build", {"victoria_logs", "jaeger", "perses"}),
        ("auto", "release", {"loki", "tempo", "tempo_query", "jaeger_query", "grafana"}),
        ("perses", "release", {"victoria_logs", "jaeger", "perses"}),
    ],
)
def test_of_two_stacks_the_one_that_is_wanted_is_made(
    tmp_path: Path, stack: str, source: str, expected: set[str]
) -> None:
    (tmp_path / "artifacts-source.json").write_text(json.dumps({"wanted": "auto", "source": source}))
    found = set(wanted(tmp_path, {"observability_stack": stack}))
    stacks = {"victoria_logs", "perses", "jaeger", "loki", "tempo", "tempo_query", "jaeger_query", "grafana"}
    assert found & stacks == expected
    assert {"prometheus", "otel_collector", "kiali"} <= found


@pytest.mark.parametrize(
    ("provider", "made"), [(None, set()), ("openbao", {"openbao", "external_secrets"}), ("aws", {"external_secrets"})]
)
def test_a_store_of_secrets_is_made_where_there_is_one(tmp_path: Path, provider: str | None, made: set[str]) -> None:
    found = wanted(tmp_path, {"secrets_store_provider": provider} if provider else {})
    assert set(found) & {"openbao", "external_secrets"} == made


def test_every_folder_of_images_is_in_our_catalogue(own: dict[str, Any]) -> None:
    images = [image for component in own.values() for image in component.get("images", [])]
    named = {image["containerfile"] for image in images if "containerfile" in image}
    assert named == {path.name for path in (REPOSITORY / "images").iterdir() if path.is_dir()}


def test_our_images_carry_versions(own: dict[str, Any]) -> None:
    """Beside busybox, which upstream's chart asks for as it is."""
    for component in own.values():
        for image in component.get("images", []):
            tag = Reference.parse(image["reference"]).tag
            assert tag != "latest" or "application" in image or "busybox" in image["reference"]


def test_what_plugins_take_is_documented() -> None:
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]["catalogue"]["suboptions"]
    assert {name: bool(option.get("required")) for name, option in documented.items()} == {
        name: bool(option.get("required")) for name, option in CATALOGUE_SPEC.items()
    }
