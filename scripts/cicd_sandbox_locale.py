# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets Ansible and Molecule run where the environment names a locale that is not there, or one without UTF-8.

Both refuse to start then, before anything of the collection is read. Each Python of .venv imports this, see venv.sh.
"""

import os
import sys

# `python .venv/bin/ansible-playbook …`
if any(word.rpartition("/")[2].startswith(("ansible", "molecule")) for word in sys.orig_argv[1:2]):
    import locale

    try:
        locale.setlocale(locale.LC_ALL, "")
        usable = locale.getlocale()[1] == "UTF-8"
    except (locale.Error, ValueError):
        usable = False
    if not usable:
        os.environ["LC_ALL"] = "C.UTF-8"
