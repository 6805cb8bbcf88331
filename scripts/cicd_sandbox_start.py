# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets Ansible and Molecule start where the environment names a locale that is not there, or collections of others.

Both refuse to start then, before anything of the collection is read. Each Python of .venv imports this, see venv.sh.
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
