# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook that has started already: each run is a fork of a process that has read Ansible.

The argument is the number of a socket, by which runs are asked for one after the other; the server ends when it does.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ansible.cli.playbook import main
from ansible.plugins.loader import init_plugin_loader
from ansible.utils.collection_loader import AnsibleCollectionConfig
from forked import answer, asked, become, settle

# Their modules are read, but no loader is asked for them: a run whose loader had looked at plugins of variables already
# did not use them.
PLUGINS = ["action", "callback", "connection", "filter", "inventory", "lookup", "shell", "strategy", "test"]


def serve(connection: socket.socket) -> None:
    while request := asked(connection):
        child = os.fork()
        if not child:
            connection.close()
            _run(*request)
        for file in request[1]:
            os.close(file)
        answer(connection, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _run(request: dict[str, Any], files: list[int]) -> None:
    code = 1
    try:
        sys.argv = ["ansible-playbook", *request["arguments"]]
        code = become(main, files, request["environment"])
    finally:
        # What runs share, directories for temporary files above all, goes with the server.
        os._exit(code)


def read_ansible() -> None:
    """Read modules that most runs would read one by one, and what is known of Ansible's own collection."""
    for kind in PLUGINS:
        package = importlib.import_module(f"ansible.plugins.{kind}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    init_plugin_loader()
    importlib.import_module("ansible_collections.ansible.builtin")
    # A run installs its own.
    AnsibleCollectionConfig.collection_finder._remove()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        modules = [sys.executable, str(Path(__file__).with_name("module_server.py")), directory]
        with subprocess.Popen(modules, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            read_ansible()
            # This Ansible's own Python, for modules that run with it.
            sys.executable = server.stdout.readline().strip()
            settle()
            serve(socket.socket(fileno=int(sys.argv[1])))
