# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the catalogue of components and plans what has to lie in the cache for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError, Entry, content_key
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.effort import Effort
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.front_end import FrontEnd
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
    generation,
    image_entry,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.packages import KINDS, Package, packages_key
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.release import Release, fetch_entry, release_key
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.versions import check_versions, filled, for_version

SOURCES = ("build", "release")
COMPONENT_KEYS = {"version", "needed", "roles", "files", "tools", "build", "modules", "packages", "release", "images"}
IMAGE_KEYS = {
    "reference",
    "containerfile",
    "application",
    "arguments",
    "files",
    "folders",
    "parts",
    "debootstrap",
    "wheel",
    "wheel_sum",
    "official",
    "versions",
}
Recipe = TypeVar("Recipe", GoRecipe, Release, FrontEnd, Package)


@dataclass(frozen=True)
class ImagePlan:
    """An image and where it lies in the cache.

    own: it exists nowhere upstream. base: it has nothing but what a distribution or upstream mends under the same name.
    """

    reference: Reference
    entry: Entry
    make: ImageRecipe | Reference
    own: bool
    base: bool = False


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
    packages: list[Package] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)

    @property
    def entries(self) -> list[Entry]:
        """Every cache entry of the component."""
        return [*([self.entry] if self.entry else []), *(image.entry for image in self.images)]


def _read(kind: type[Recipe], name: str, recipe: Mapping[str, Any], version: str) -> Recipe:
    values = for_version(name, recipe, version)
    unknown = set(values) - {item.name for item in fields(kind)}
    if unknown:
        raise ArtifactError(f"component {name}: unknown key {', '.join(sorted(unknown))} in a {kind.__name__}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ArtifactError(f"component {name}: {error}") from error


def has_recipe(image: Mapping[str, Any]) -> bool:
    """Whether an image can be built here."""
    return "containerfile" in image or "application" in image


class Catalogue:
    """The catalogue for one source, with every entry's key worked out.

    components: as in roles/sandbox/vars/main/components/.
    source: "build" or "release".
    collection: the folder that has images/ and apps/.
    versions: component → version, where it is not the component's own.
    inventories: folders that have images/ and applications of an inventory.
    """

    def __init__(
        self,
        components: Mapping[str, Mapping[str, Any]],
        cache: Path,
        source: str,
        collection: Path,
        toolchain: Toolchain,
        versions: Mapping[str, Any] | None = None,
        inventories: Sequence[Path] = (),
    ) -> None:
        if source not in SOURCES:
            raise ArtifactError(f"source is {source!r}, not one of {', '.join(SOURCES)}")
        self._components: dict[str, Mapping[str, Any]] = {}
        self.cache = cache
        self._source = source
        self._collection = collection
        self.toolchain = toolchain
        self._inventories = inventories
        self._plans: dict[str, ComponentPlan] = {}
        self._owners: dict[Reference, str] = {}
        for name, component in components.items():
            if not isinstance(component, Mapping) or "version" not in component:
                raise ArtifactError(f"component {name}: states no version")
        own = {name: component["version"] for name, component in components.items()}
        self._versions = {name: str(version) for name, version in {**own, **(versions or {})}.items()}
        for name, component in components.items():
            self._add(name, filled(name, component, self._versions))

    def _add(self, name: str, component: Mapping[str, Any]) -> None:
        unknown = set(component) - COMPONENT_KEYS
        if unknown:
            raise ArtifactError(f"component {name}: unknown key {', '.join(sorted(unknown))}")
        for image in component.get("images", []):
            wrong = set(image) - IMAGE_KEYS
            if wrong:
                raise ArtifactError(f"component {name}: unknown key {', '.join(sorted(wrong))} in an image")
            self._owners[Reference.parse(image["reference"])] = name
        self._components[name] = component

    @property
    def names(self) -> list[str]:
        """All components in the order in which the site needs them."""
        return sorted(self._components, key=lambda name: (int(self._components[name].get("needed", 0)), name))

    @property
    def obtainable(self) -> list[str]:
        """Those of them that can be had from the source."""
        return [plan.name for plan in self.plans(self.names) if plan.entries]

    def version(self, name: str) -> str:
        """The version of a component that is made."""
        return self._versions[name]

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
        version = self.version(name)
        modules = [self._go_recipe(name, values) for values in component.get("modules", [])]
        packages = self._packages(name, component.get("packages", {}))
        recipes: list[GoRecipe] = []
        releases: list[Release] = []
        # What upstream publishes no program of, or none that can be verified, is built from its module all the same.
        published = "release" in component or not component.get("files")
        if self._source == "release" and published:
            releases = [_read(Release, name, values, version) for values in component.get("release", [])]
            key = release_key(releases, modules) if releases or modules else ""
        else:
            recipes = [self._go_recipe(name, values) for values in component.get("build", {}).get("go", [])]
            key = go_key([*recipes, *modules], self.toolchain.version) if recipes or modules else ""
        if packages:
            key = packages_key(key, packages)
        entry = Entry(self.cache, name, version, key) if key else None
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
            packages=packages,
            releases=releases,
        )
        # Images of a component may start from each other, so that they are added one by one.
        self._plans[name] = plan
        try:
            for image in component.get("images", []):
                # What upstream alone makes is nowhere where all is built.
                if self._source == "release" or has_recipe(image):
                    plan.images.append(self._plan_image(name, image, entry))
        except ArtifactError:
            del self._plans[name]
            raise
        return plan

    def _go_recipe(self, name: str, recipe: Mapping[str, Any]) -> GoRecipe:
        front_ends = recipe.get("front_ends", [])
        if not front_ends:
            return _read(GoRecipe, name, recipe, self.version(name))
        node = self._node()
        read = [_read(FrontEnd, name, {**node, **values}, self.version(name)) for values in front_ends]
        return _read(GoRecipe, name, {**recipe, "front_ends": read}, self.version(name))

    def _node(self) -> dict[str, str]:
        """The Node that front-ends are built with: that of the component `node`."""
        for image in self._components.get("node", {}).get("images", []):
            values = for_version("node", image, self.version("node"))
            if "wheel" in values:
                return {"node": str(values["wheel"]), "node_sum": str(values.get("wheel_sum", ""))}
        raise ArtifactError("front-ends are built with the wheel of a component node, and there is none")

    def _packages(self, name: str, kinds: Mapping[str, Any]) -> list[Package]:
        unknown = set(kinds) - set(KINDS)
        if unknown:
            known = ", ".join(KINDS)
            raise ArtifactError(f"component {name}: packages are {known}, not {', '.join(sorted(unknown))}")
        return [
            _read(KINDS[kind], name, values, self.version(name)) for kind in sorted(kinds) for values in kinds[kind]
        ]

    def _plan_image(self, name: str, image: Mapping[str, Any], entry: Entry | None) -> ImagePlan:
        reference = Reference.parse(image["reference"])
        own = not image.get("official", True)
        if self._source == "release" and not own:
            base = has_recipe(image) and not image.get("files") and not image.get("parts")
            since = generation(self.cache, reference) if base else ""
            key = content_key({"copy": str(reference), **({"generation": since} if since else {})})
            return ImagePlan(reference, image_entry(self.cache, reference, key), reference, own, base)
        known = for_version(name, image, self.version(name))
        wrong = set(known) - IMAGE_KEYS
        if wrong:
            raise ArtifactError(f"component {name}: unknown key {', '.join(sorted(wrong))} in an image")
        recipe = self._image_recipe(name, known, reference, entry)
        key = recipe.key()
        if own:
            # What is ours changes under one version: its tag says so, and a new tag is rolled out.
            application = image.get("application")
            tag = application_version(self._folder(application)) if application else reference.tag
            tagged = Reference(reference.registry, reference.repository, f"{tag}-{key}")
            recipe = ImageRecipe(**{**vars(recipe), "reference": tagged})
            self._owners[tagged] = name
            return ImagePlan(tagged, image_entry(self.cache, tagged, key), recipe, own)
        return ImagePlan(reference, image_entry(self.cache, reference, key), recipe, own, bool(recipe.debootstrap))

    def _image_recipe(
        self, name: str, image: Mapping[str, Any], reference: Reference, entry: Entry | None
    ) -> ImageRecipe:
        source = self._folder(image.get("application") or Path("images") / image["containerfile"])
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
            generation=generation(self.cache, reference) if image.get("debootstrap") else "",
            wheel=str(image.get("wheel", "")),
            wheel_sum=str(image.get("wheel_sum", "")),
            folders={folder: self._folder(path) for folder, path in image.get("folders", {}).items()},
        )
        for folder, path in recipe.folders.items():
            if not path.is_dir():
                raise ArtifactError(f"image {reference} wants the folder {folder}: {path} is none")
        bases = base_references(recipe.containerfile.read_text())
        return ImageRecipe(**{**vars(recipe), "bases": {base: self.image(base).entry for base in bases}})

    def _folder(self, path: str | Path) -> Path:
        """A folder of the collection or, where that has none, beside an inventory; an absolute path is itself."""
        places = [place / path for place in (self._collection, *self._inventories)]
        return next((place for place in places if place.is_dir()), places[0])

    def make(self, plan: ComponentPlan, effort: Effort | None = None) -> list[Entry]:
        """Make what a component lacks, and what it is made from; the entries that had to be made.

        Raises ArtifactError with what the tool said.
        """
        made = self._make_entry(plan, effort)
        for image in plan.images:
            made += self.make_image(image, effort)
        return made

    def _make_entry(self, plan: ComponentPlan, effort: Effort | None) -> list[Entry]:
        if plan.entry is None or plan.entry.usable():
            return []
        if self._source == "release" and not plan.recipes:
            new = fetch_entry(plan.entry, plan.releases, plan.modules, self.toolchain, effort, plan.packages)
        else:
            recipes = [*plan.recipes, *plan.modules]
            new = build_entry(plan.entry, recipes, self.toolchain, effort, plan.packages)
        return [plan.entry] if new else []

    def make_image(self, image: ImagePlan, effort: Effort | None = None) -> list[Entry]:
        """Make an image, and what it is made from; the entries that had to be made."""
        if image.entry.usable():
            return []
        made = []
        if isinstance(image.make, ImageRecipe):
            for reference in image.make.bases:
                made += self.make_image(self.image(reference), effort)
            for component in image.make.parts:
                made += self._make_entry(self.plan(component), effort)
        return [*made, image.entry] if build_image(image.entry, image.make, effort) else made


CATALOGUE_SPEC: dict[str, Any] = {
    "components": {"type": "dict", "required": True},
    "cache": {"type": "path", "required": True},
    "source": {"type": "str", "choices": list(SOURCES), "required": True},
    "collection": {"type": "path", "required": True},
    "go": {"type": "dict", "required": True},
    "versions": {"type": "dict", "default": {}},
    "inventories": {"type": "list", "elements": "path", "default": []},
}


def open_catalogue(values: Mapping[str, Any]) -> Catalogue:
    """The catalogue as modules get it: with the machine's own Go, or the one that will be taken from PyPI.

    What belongs to an inventory, a file or a folder, lies beside it: Ansible would read all that is in the folder.
    """
    cache = Path(values["cache"])
    toolchain = known_toolchain(cache, values["go"])
    inventories = [Path(path).parent for path in values.get("inventories") or []]
    return Catalogue(
        values["components"],
        cache,
        values["source"],
        Path(values["collection"]),
        toolchain,
        values.get("versions"),
        inventories,
    )


def check_catalogue(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with a catalogue as modules get it and with the versions chosen in it, a sentence each."""
    components, versions = values["components"], values.get("versions") or {}
    try:
        catalogue = open_catalogue({**values, "versions": {}})
    except ArtifactError as error:
        return [str(error)]
    refused = check_versions(components, versions, values["source"])
    catalogue = open_catalogue({**values, "versions": {n: v for n, v in versions.items() if n not in refused}})
    findings = list(refused.values())
    for name in catalogue.names:
        try:
            catalogue.plan(name)
        except (ArtifactError, OSError, LookupError, TypeError, ValueError) as error:
            text = str(error) if isinstance(error, ArtifactError) else f"component {name}: {error!r}"
            findings += [text] if text not in findings else []
    return findings
