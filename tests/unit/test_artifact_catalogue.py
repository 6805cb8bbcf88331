# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue: the plans it makes, and that the sandbox's own is sound."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jinja2
import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import Catalogue
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.go import Toolchain
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.image import ImageRecipe, Reference
from checkout import REPOSITORY, load

TOOLCHAIN = Toolchain("1.26.8", Path("/usr/bin/go"))
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


def render(value: Any, variables: dict[str, Any]) -> Any:
    """Template a structure; the catalogue uses nothing but plain Jinja."""
    if isinstance(value, dict):
        return {name: render(item, variables) for name, item in value.items()}
    if isinstance(value, list):
        return [render(item, variables) for item in value]
    if isinstance(value, str):
        return jinja2.Template(value, undefined=jinja2.StrictUndefined).render(variables)
    return value


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


# --- the sandbox's own ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own() -> dict[str, Any]:
    variables = load(REPOSITORY / "roles/sandbox/vars/main/components.yml")
    versions = {name: str(version) for name, version in variables["sandbox_versions"].items()}
    components: dict[str, Any] = render(variables["sandbox_components"], {"sandbox_versions": versions})
    return components


@pytest.mark.parametrize("source", ["build", "release"])
def test_our_catalogue_plans_every_component(own: dict[str, Any], tmp_path: Path, source: str) -> None:
    plans = Catalogue(own, tmp_path, source, REPOSITORY, TOOLCHAIN).plans(own)
    assert len(plans) == len(own)
    for plan in plans:
        assert plan.entries, plan.name
        assert set(plan.tools) <= set(plan.files), plan.name
        made = {name for recipe in plan.recipes for name in recipe.packages}
        made |= {name for release in plan.releases for name in release.members or {release.name: ""}}
        assert set(plan.files) <= made, plan.name


def test_our_recipes_are_pinned(own: dict[str, Any]) -> None:
    for name, component in own.items():
        for recipe in [*component.get("build", {}).get("go", []), *component.get("modules", [])]:
            assert recipe["version"].startswith("v"), name
            assert recipe["sum"].startswith("h1:"), name


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
