# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets Ansible and Molecule start where the environment names what is not there: a locale, a callback, collections.

They refuse to start then, or find no host, before anything of the collection is read. Each Python of .venv imports
this, see venv.sh.
"""

import os
import sys
from pathlib import Path

# `python .venv/bin/ansible-playbook …`
_PROGRAM = sys.orig_argv[1].rpartition("/")[2] if len(sys.orig_argv) > 1 else ""

if _PROGRAM.startswith(("ansible", "molecule")):
    import locale

    try:
        locale.setlocale(locale.LC_ALL, "")
        _usable = locale.getlocale()[1] == "UTF-8"
    except (locale.Error, ValueError):
        _usable = False
    if not _usable:
        os.environ["LC_ALL"] = "C.UTF-8"

# Behind what is named there. To ansible-galaxy it is where collections are installed.
if _PROGRAM.startswith(("ansible", "molecule")) and "galaxy" not in _PROGRAM:
    for _name in ("ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_COLLECTIONS_PATHS"):
        if _name in os.environ:
            os.environ[_name] += f":{Path(__file__).resolve().parents[1] / '.collections'}"


def _is_there(name: str) -> bool:
    """Whether Ansible has a callback, or knows under which name to find it."""
    packages = Path(sysconfig.get_paths()["purelib"])
    namespace, _, rest = name.removeprefix("ansible.builtin.").partition(".")
    if rest:
        collection, _, plugin = rest.rpartition(".")
        folders = [Path(__file__).resolve().parents[1] / ".collections", packages]
        inside = Path("ansible_collections", namespace, collection, "plugins/callback", f"{plugin}.py")
        return any((folder / inside).is_file() for folder in folders)
    listed = packages / "ansible/config/ansible_builtin_runtime.yml"
    moved = (
        listed.is_file() and f"\n    {namespace}:\n" in listed.read_text(encoding="utf-8").partition("\n  callback:")[2]
    )
    return moved or (packages / f"ansible/plugins/callback/{namespace}.py").is_file()


if _PROGRAM.startswith("ansible") and "ANSIBLE_STDOUT_CALLBACK" in os.environ:
    import sysconfig

    # Somebody who has callbacks of their own elsewhere is told by Ansible of those that are not there.
    if "ANSIBLE_CALLBACK_PLUGINS" not in os.environ and not _is_there(os.environ["ANSIBLE_STDOUT_CALLBACK"]):
        del os.environ["ANSIBLE_STDOUT_CALLBACK"]

# Dynamic inventories, and facts that were found of other hosts with these names: here inventories are files.
if _PROGRAM.startswith(("ansible", "molecule")):
    for _name in [
        name for name in os.environ if name.startswith(("ANSIBLE_CACHE_PLUGIN", "ANSIBLE_INVENTORY_ENABLED"))
    ]:
        del os.environ[_name]
