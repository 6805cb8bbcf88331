# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describes a distribution of the OpenTelemetry Collector, whose main package upstream's builder `ocb` writes.

The builder would also resolve modules by ``go mod tidy``, which asks for those of components' tests as well: it is
given a go.mod and writes Go source alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError

CONFIG = "builder.json"
KINDS = ("connectors", "exporters", "extensions", "processors", "providers", "receivers")
ARGUMENTS = (f"--config={CONFIG}", "--skip-get-modules", "--skip-compilation")


def check_kinds(module: str, distribution: Mapping[str, Sequence[str]]) -> None:
    """Raise ArtifactError for a kind of components that the builder does not know."""
    unknown = set(distribution) - set(KINDS)
    if unknown:
        known = ", ".join(KINDS)
        raise ArtifactError(f"{module}: a distribution has {known}, not {', '.join(sorted(unknown))}")


def component_versions(
    distribution: Mapping[str, Sequence[str]], version: str, requires: Mapping[str, str]
) -> dict[str, str]:
    """Module → version of all components: `version` where `requires` states no other."""
    modules = sorted({module for kind in distribution.values() for module in kind})
    return {module: requires.get(module, version) for module in modules}


def builder_config(
    distribution: Mapping[str, Sequence[str]], program: str, version: str, main: str, versions: Mapping[str, str]
) -> str:
    """The builder's configuration, JSON being YAML.

    program, version: what it says of itself, without a leading "v".
    main: the module that its source is written for, in the folder that the builder is run in.
    versions: as component_versions has them.
    """
    about = {"module": main, "name": program, "version": version, "output_path": "."}
    components = {
        kind: [{"gomod": f"{module} {versions[module]}"} for module in modules]
        for kind, modules in distribution.items()
    }
    return json.dumps({"dist": about, **components}, indent=2)
