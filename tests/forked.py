# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What servers have in common whose answer to a request is a fork that becomes a program.

A request is a Python literal, led by its length and the program's three standard files; an answer is an exit code.
"""

from __future__ import annotations

import ast
import gc
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

# Characters of a length or a code.
LENGTH = 8


def ask(server: socket.socket, request: Any, files: list[int]) -> int:
    """Have a request answered."""
    said = ascii(request).encode()
    socket.send_fds(server, [b"%*d" % (LENGTH, len(said))], files)
    server.sendall(said)
    return int(server.recv(LENGTH, socket.MSG_WAITALL))


def asked(connection: socket.socket) -> tuple[Any, list[int]] | None:
    """Wait for a request; None when there will be none."""
    length, files, _, _ = socket.recv_fds(connection, LENGTH, 3)
    if not length:
        return None
    return ast.literal_eval(connection.recv(int(length), socket.MSG_WAITALL).decode()), files


def answer(connection: socket.socket, code: int) -> None:
    connection.sendall(b"%*d" % (LENGTH, code))


def settle() -> None:
    """Have what was read so far neither looked at nor, by that, copied by every fork."""
    gc.collect()
    gc.freeze()


def become(program: Callable[[], None], files: list[int], environment: Mapping[str, str]) -> int:
    """Run a program that has this process to itself; give its exit code."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    try:
        program()
        return 0
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        if sys.exc_info()[0]:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
