# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: text_files
short_description: Write several text files of a host in one go
description:
  - Writes each file whole and atomically, only where its content or its mode differs.
  - One task for a service's whole configuration, where a loop over M(ansible.builtin.template) would cross the
    connection once a file. Templates are rendered on the controller.
version_added: 0.1.0
author: cicd.sandbox contributors
options:
  files:
    description: The files, in the order in which they are written.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path. Missing directories above it are made with mode 0755.
        type: path
        required: true
      content:
        description: The whole text. This or O(files[].src) is required unless O(files[].state=absent).
        type: str
      src:
        description:
          - A template, found as M(ansible.builtin.template) finds it, in a role's C(templates) first.
          - It sees the task's variables and C(ansible_managed), C(template_path), C(template_fullpath) and
            C(template_destpath); in C(text_files_checksums) the SHA-256 of the text of each file before it in the list,
            by path.
        type: str
      vars:
        description: More variables for O(files[].src).
        type: dict
      mode:
        description: Permissions, in octal.
        type: str
        default: "0644"
      sensitive:
        description: Leaves the content out of the diff and of what the module reports about its call.
        type: bool
        default: false
      force:
        description: V(false) leaves a file that is there as it is, its mode too.
        type: bool
        default: true
      validate:
        description:
          - A command that is run before a changed file takes the place of the old one, which stays where it fails.
            C(%s) in it is the new file's path.
          - It has no shell, and is not run in check mode.
        type: str
      state:
        description: Whether the file is there.
        type: str
        choices: [present, absent]
        default: present
attributes:
  check_mode:
    description: Says what would change, changes nothing.
    support: full
  diff_mode:
    description: Shows each file's text before and after, except of sensitive files.
    support: full
"""

EXAMPLES = r"""
- name: Configure containerd
  cicd.sandbox.text_files:
    files:
      - path: /etc/containerd/config.toml
        src: config.toml.j2
      - path: /etc/containerd/certs.d/quay.io/hosts.toml
        src: hosts.toml.j2
        vars:
          registry: quay.io
        mode: "0600"
        sensitive: true
      - path: /etc/containerd/old.toml
        state: absent

- name: Configure the web server
  cicd.sandbox.text_files:
    files:
      - path: /etc/nginx/nginx.conf
        src: nginx.conf.j2
        validate: nginx -t -q -c %s
"""

RETURN = r"""
changed_paths:
  description: The paths that were written, removed or given another mode.
  returned: always
  type: list
  elements: str
  sample: [/etc/containerd/config.toml]
checksums:
  description: SHA-256 of the text that each path has to have, whether it had it before or not.
  returned: always
  type: dict
  sample: {/etc/containerd/config.toml: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
"""

import shlex
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import settle


def current(path: Path) -> tuple[str | None, int | None]:
    """Give a file's text and permission bits; None for both where there is no file."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape"), path.stat().st_mode & 0o7777
    except FileNotFoundError:
        return None, None


def apply(module: AnsibleModule, file: dict[str, Any]) -> dict[str, str] | None:
    """Bring one file into its state. Gives its diff, or None where nothing had to change."""
    path, wanted, mode = Path(file["path"]), file["content"], int(file["mode"], 8)
    text, had_mode = current(path)
    if file["state"] == "absent":
        if text is None:
            return None
        if not module.check_mode:
            path.unlink()
        wanted = ""
    elif (text == wanted and had_mode == mode) or (text is not None and not file["force"]):
        return None
    elif not module.check_mode:
        files.write(path, wanted, mode, check=lambda new: validate(module, file["validate"], new))
    header = {"before_header": f"{path} ({had_mode or 0:04o})", "after_header": f"{path} ({mode:04o})"}
    if file["sensitive"]:
        return {**header, "before": "(sensitive)\n", "after": "(sensitive, changed)\n"}
    return {**header, "before": text or "", "after": wanted}


def validate(module: AnsibleModule, command: str | None, new: Path) -> None:
    """Run a file's check on its new text; ValueError with what the command said where it fails."""
    if not command:
        return
    code, out, err = module.run_command([word.replace("%s", str(new)) for word in shlex.split(command)])
    if code:
        raise ValueError(f"is left as it was, since the new text is refused by {command}: {(err or out).strip()}")


def main() -> None:
    settle()
    options = {
        "path": {"type": "path", "required": True},
        "content": {"type": "str"},
        # What the action has rendered is in their place.
        "src": {"type": "str"},
        "vars": {"type": "dict"},
        "mode": {"type": "str", "default": "0644"},
        "sensitive": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": True},
        "validate": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": options,
                "required_if": [("state", "present", ["content"])],
            }
        },
        supports_check_mode=True,
    )
    shown = [{**file, "content": "(sensitive)"} if file["sensitive"] else file for file in module.params["files"]]
    told = {"invocation": {"module_args": {"files": shown}}}
    diffs: dict[str, dict[str, str]] = {}
    for file in module.params["files"]:
        try:
            diff = apply(module, file)
        except (OSError, ValueError) as error:
            module.fail_json(msg=f"{file['path']}: {error}", changed_paths=list(diffs), **told)
        if diff:
            diffs[file["path"]] = diff
    module.exit_json(changed=bool(diffs), changed_paths=list(diffs), diff=list(diffs.values()), **told)


if __name__ == "__main__":
    main()
