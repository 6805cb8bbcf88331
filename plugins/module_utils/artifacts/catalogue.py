# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the catalogue of components and plans what has to lie in the cache for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError, Entry, content_key
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.go import (
    GoRecipe,
    Toolchain,
    build_entry,
    go_key,
    known_toolchain,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.image import (
    ImageRecipe,
    Reference,
    application_version,
    base_references,
    build_image,
    image_entry,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.release import Release, fetch_entry, release_key

SOURCES = ("build", "release")
COMPONENT_KEYS = {"version", "needed", "files", "tools", "build", "modules", "release", "images"}
IMAGE_KEYS = {
    "reference",
    "containerfile",
    "application",
    "arguments",
    "files",
    "parts",
    "debootstrap",
    "wheel",
    "official",
}
Recipe = TypeVar("Recipe", GoRecipe, Release)


@dataclass(frozen=True)
class ImagePlan:
    """An image and where it lies in the cache; `own` images exist nowhere upstream."""

    reference: Reference
    entry: Entry
    make: ImageRecipe | Reference
    own: bool


@dataclass(frozen=True)
class ComponentPlan:
    """All that has to lie in the cache for one component."""

    name: str
    version: str
    needed: int
    files: list[str]
    tools: list[str]
    entry: Entry | None
    images: list[ImagePlan]
    recipes: list[GoRecipe] = field(default_factory=list)
    modules: list[GoRecipe] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)

    @property
    def entries(self) -> list[Entry]:
        """Every cache entry of the component."""
        return [*([self.entry] if self.entry else []), *(image.entry for image in self.images)]


def _read(kind: type[Recipe], name: str, values: Mapping[str, Any]) -> Recipe:
    unknown = set(values) - {item.name for item in fields(kind)}
    if unknown:
        raise ArtifactError(f"component {name}: unknown key {', '.join(sorted(unknown))} in a {kind.__name__}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ArtifactError(f"component {name}: {error}") from error


class Catalogue:
    """The catalogue for one source, with every entry's key worked out.

    components: as in roles/sandbox/vars/main/components.yml, templated.
    source: "build" or "release".
    collection: the folder that has images/ and apps/.
    """

    def __init__(
        self,
        components: Mapping[str, Mapping[str, Any]],
        cache: Path,
        source: str,
        collection: Path,
        toolchain: Toolchain,
    ) -> None:
        if source not in SOURCES:
            raise ArtifactError(f"source is {source!r}, not one of {', '.join(SOURCES)}")
        self._components = components
        self.cache = cache
        self._source = source
        self._collection = collection
        self.toolchain = toolchain
        self._plans: dict[str, ComponentPlan] = {}
        self._owners: dict[Reference, str] = {}
        for name, component in components.items():
            unknown = set(component) - COMPONENT_KEYS
            if unknown:
                raise ArtifactError(f"component {name}: unknown key {', '.join(sorted(unknown))}")
            for image in component.get("images", []):
                wrong = set(image) - IMAGE_KEYS
                if wrong:
                    raise ArtifactError(f"component {name}: unknown key {', '.join(sorted(wrong))} in an image")
                self._owners[Reference.parse(image["reference"])] = name

    @property
    def names(self) -> list[str]:
        """All components in the order in which the site needs them."""
        return sorted(self._components, key=lambda name: (int(self._components[name].get("needed", 0)), name))

    def plan(self, name: str) -> ComponentPlan:
        """The plan of a component. Raises ArtifactError where the catalogue has none of that name."""
        if name not in self._components:
            raise ArtifactError(f"the catalogue has no component {name!r}; it has {', '.join(self.names)}")
        if name not in self._plans:
            self._plans[name] = self._plan(name)
        return self._plans[name]

    def plans(self, names: Iterable[str]) -> list[ComponentPlan]:
        """The plans of several components, in the order of need."""
        wanted = list(names)
        for name in wanted:
            self.plan(name)
        return [self.plan(name) for name in self.names if name in wanted]

    def image(self, reference: Reference) -> ImagePlan:
        """The plan of an image by its upstream name."""
        owner = self._owners.get(reference)
        if owner is None:
            raise ArtifactError(f"the catalogue has no image {reference}")
        return next(image for image in self.plan(owner).images if image.reference == reference)

    def _plan(self, name: str) -> ComponentPlan:
        component = self._components[name]
        version = str(component["version"])
        modules = [_read(GoRecipe, name, values) for values in component.get("modules", [])]
        recipes = [_read(GoRecipe, name, values) for values in component.get("build", {}).get("go", [])]
        releases = [_read(Release, name, values) for values in component.get("release", [])]
        entry = None
        if self._source == "release":
            recipes = []
            if releases or modules:
                entry = Entry(self.cache, name, version, release_key(releases, modules))
        else:
            releases = []
            if recipes or modules:
                entry = Entry(self.cache, name, version, go_key([*recipes, *modules], self.toolchain.version))
        plan = ComponentPlan(
            name=name,
            version=version,
            needed=int(component.get("needed", 0)),
            files=list(component.get("files", [])),
            tools=list(component.get("tools", [])),
            entry=entry,
            images=[],
            recipes=recipes,
            modules=modules,
            releases=releases,
        )
        # Images of a component may start from each other, so that they are added one by one.
        self._plans[name] = plan
        try:
            for image in component.get("images", []):
                plan.images.append(self._plan_image(name, image, entry))
        except ArtifactError:
            del self._plans[name]
            raise
        return plan

    def _plan_image(self, name: str, image: Mapping[str, Any], entry: Entry | None) -> ImagePlan:
        reference = Reference.parse(image["reference"])
        own = not image.get("official", True)
        if self._source == "release" and not own:
            key = content_key({"copy": str(reference)})
            return ImagePlan(reference, image_entry(self.cache, reference, key), reference, own)
        recipe = self._image_recipe(name, image, reference, entry)
        key = recipe.key()
        if own:
            # What is ours changes under one version: its tag says so, and a new tag is rolled out.
            application = image.get("application")
            tag = application_version(self._collection / application) if application else reference.tag
            tagged = Reference(reference.registry, reference.repository, f"{tag}-{key}")
            recipe = ImageRecipe(**{**vars(recipe), "reference": tagged})
            self._owners[tagged] = name
            return ImagePlan(tagged, image_entry(self.cache, tagged, key), recipe, own)
        return ImagePlan(reference, image_entry(self.cache, reference, key), recipe, own)

    def _image_recipe(
        self, name: str, image: Mapping[str, Any], reference: Reference, entry: Entry | None
    ) -> ImageRecipe:
        folder = image.get("application") or f"images/{image['containerfile']}"
        source = self._collection / folder
        files: dict[str, Path] = {}
        parts: dict[str, str] = {}
        wanted = {name: list(image.get("files", [])), **image.get("parts", {})}
        for component, programs in wanted.items():
            owner = entry if component == name else self.plan(component).entry
            if programs and owner is None:
                raise ArtifactError(f"image {reference} wants files of {component}, which has none")
            if programs and owner is not None:
                parts[component] = owner.key
                files.update({program: owner.directory / program for program in programs})
        recipe = ImageRecipe(
            reference,
            source,
            arguments={key: str(value) for key, value in image.get("arguments", {}).items()},
            files=files,
            parts=parts,
            debootstrap=dict(image.get("debootstrap", {})),
            wheel=str(image.get("wheel", "")),
        )
        bases = base_references(recipe.containerfile.read_text())
        return ImageRecipe(**{**vars(recipe), "bases": {base: self.image(base).entry for base in bases}})

    def make(self, plan: ComponentPlan, niceness: int = 10) -> list[Entry]:
        """Make what a component lacks, and what it is made from; the entries that had to be made.

        Raises ArtifactError with what the tool said.
        """
        made = self._make_entry(plan, niceness)
        for image in plan.images:
            made += self.make_image(image, niceness)
        return made

    def _make_entry(self, plan: ComponentPlan, niceness: int) -> list[Entry]:
        if plan.entry is None or plan.entry.usable():
            return []
        if self._source == "release":
            new = fetch_entry(plan.entry, plan.releases, plan.modules, self.toolchain, niceness)
        else:
            new = build_entry(plan.entry, [*plan.recipes, *plan.modules], self.toolchain, niceness)
        return [plan.entry] if new else []

    def make_image(self, image: ImagePlan, niceness: int = 10) -> list[Entry]:
        """Make an image, and what it is made from; the entries that had to be made."""
        if image.entry.usable():
            return []
        made = []
        if isinstance(image.make, ImageRecipe):
            for reference in image.make.bases:
                made += self.make_image(self.image(reference), niceness)
            for component in image.make.parts:
                made += self._make_entry(self.plan(component), niceness)
        return [*made, image.entry] if build_image(image.entry, image.make, niceness) else made


CATALOGUE_SPEC: dict[str, Any] = {
    "components": {"type": "dict", "required": True},
    "cache": {"type": "path", "required": True},
    "source": {"type": "str", "choices": list(SOURCES), "required": True},
    "collection": {"type": "path", "required": True},
    "go": {"type": "dict", "required": True},
}


def open_catalogue(values: Mapping[str, Any]) -> Catalogue:
    """The catalogue as modules get it: with the machine's own Go, or the one that will be taken from PyPI."""
    cache = Path(values["cache"])
    toolchain = known_toolchain(cache, values["go"])
    return Catalogue(values["components"], cache, values["source"], Path(values["collection"]), toolchain)
