#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: a container image in the cache."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_image
short_description: Build a container image with buildah, or copy the official one, once
version_added: "0.1.0"
description:
  - Builds the image that the catalogue of components has under a name, with what it starts from and the programs that
    go into it, or copies the official one with skopeo, by digest. The result is an OCI image layout in a cache, keyed
    by everything that goes into it.
  - What the machine's apt, pip and npm are configured with is mounted while the image is built and never becomes part
    of it.
extends_documentation_fragment:
  - cicd.sandbox.artifact_catalogue
options:
  reference:
    description: The image's name in the catalogue.
    type: str
    required: true
author:
  - cicd.sandbox contributors
attributes:
  check_mode:
    description: Says whether the image would be made, makes none.
    support: full
"""

EXAMPLES = r"""
- name: Build the base image
  cicd.sandbox.container_image:
    catalogue:
      components: "{{ sandbox_components }}"
      cache: "{{ sandbox_cache_directory }}"
      source: build
      collection: "{{ role_path }}/../.."
      go: "{{ sandbox_go }}"
    reference: docker.io/library/debian:trixie-slim
  become: true
"""

RETURN = r"""
path:
  description: The OCI image layout.
  returned: success
  type: str
reference:
  description: The image's full name; of an image of our own, with the tag that its content gave it.
  returned: success
  type: str
digest:
  description: Digest of its manifest.
  returned: when the image is in the cache
  type: str
log:
  description: Everything buildah and skopeo said.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import CATALOGUE_SPEC, open_catalogue
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.image import Reference, layout_digest


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "catalogue": {"type": "dict", "required": True, "options": CATALOGUE_SPEC},
            "reference": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        catalogue = open_catalogue(module.params["catalogue"])
        plan = catalogue.image(Reference.parse(module.params["reference"]))
        made = [plan.entry] if module.check_mode and not plan.entry.usable() else []
        if not module.check_mode:
            made = catalogue.make_image(plan)
        digest = layout_digest(plan.entry.directory) if plan.entry.present() else ""
    except (ArtifactError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=plan.entry in made,
        path=str(plan.entry.directory),
        reference=str(plan.reference),
        digest=digest,
        log=str(plan.entry.log),
    )


if __name__ == "__main__":
    main()
