# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python that has started already, for Ansible's modules: each is a fork of a process that has read their library.

To Ansible it is an interpreter like any other, a program that is given a module's file. It is made in the directory
that is the argument; its path is printed when it can be used. The server ends when its standard input does.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import runpy
import select
import socket
import sys
from pathlib import Path

from forked import LENGTH, answer, asked, become, settle

# What modules have in common.
LIBRARY = ["ansible.module_utils.basic", "ansible.module_utils._internal._ansiballz._loader", "yaml"]
# Asks as `forked` does, without the half of a Python's start that this would be. What is no module's file, or has
# settings of Python's own, is for the Python itself.
CLIENT = """\
#!{python} -IS
import _socket, os, sys
if len(sys.argv) != 2 or "AnsiballZ_" not in sys.argv[1] or any(name.startswith("PYTHON") for name in os.environ):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
umask = os.umask(0)
os.umask(umask)
said = ascii((sys.argv[1], os.getcwd(), umask, dict(os.environ))).encode()
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect({address!r})
files = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
server.sendmsg([b"%{length}d" % len(said)], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
while said:
    said = said[server.send(said):]
sys.exit(int(server.recv({length}) or 1))
"""


def serve(server: socket.socket) -> None:
    """Run what is asked for, all at once."""
    while server in select.select([server, sys.stdin], [], [])[0]:
        connection, _ = server.accept()
        with connection:
            if not os.fork():
                server.close()
                _run(connection)
        # Those that have ended.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _run(connection: socket.socket) -> None:
    code = 1
    try:
        if request := asked(connection):
            code = _module(*request)
    finally:
        # What modules leave to the end of their process: their directories for temporary files.
        atexit._run_exitfuncs()
        answer(connection, code)
        os._exit(code)


def _module(request: tuple[str, str, int, dict[str, str]], files: list[int]) -> int:
    path, directory, umask, environment = request
    os.chdir(directory)
    os.umask(umask)
    sys.argv = [path]
    return become(lambda: runpy.run_path(path, run_name="__main__"), files, environment)


if __name__ == "__main__":
    for name in LIBRARY:
        importlib.import_module(name)
    address, client = (Path(sys.argv[1], name) for name in ("socket", "python"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        server.listen()
        client.write_text(CLIENT.format(python=sys.executable, address=str(address), length=LENGTH), encoding="utf-8")
        client.chmod(0o755)
        sys.stdout.write(f"{client}\n")
        sys.stdout.flush()
        settle()
        serve(server)
