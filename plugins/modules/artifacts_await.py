#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action artifacts_await."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifacts_await
short_description: Wait until components lie in the cache
version_added: "0.1.0"
description:
  - Waits for what M(cicd.sandbox.artifacts_queue) makes in the background, and shows its progress.
  - Fails as soon as one of them has failed, with the words of what made it.
  - Runs on the controller.
extends_documentation_fragment:
  - cicd.sandbox.artifact_catalogue
options:
  names:
    description: Components to wait for.
    type: list
    elements: str
    required: true
  timeout:
    description: Seconds after which waiting ends with a failure.
    type: int
    default: 5400
  report_every:
    description: Seconds between two reports of progress.
    type: int
    default: 20
author:
  - cicd.sandbox contributors
attributes:
  check_mode:
    description: Says how far components are, does not wait.
    support: full
"""

EXAMPLES = r"""
- name: Wait for etcd
  cicd.sandbox.artifacts_await:
    catalogue: "{{ artifacts_catalogue }}"
    names: [etcd]
"""

RETURN = r"""
states:
  description: Component → state.
  returned: always
  type: dict
waited:
  description: Seconds.
  returned: always
  type: float
"""
