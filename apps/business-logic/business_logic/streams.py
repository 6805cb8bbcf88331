"""Connections to Valkey, and what to do while it is away: go on without it, and notice by itself when it is back."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import valkey
from valkey.backoff import NoBackoff
from valkey.retry import Retry

from business_logic import environment, metrics
from business_logic.database import reason

# Seconds that nobody asks a server again that has not answered.
PAUSE = 1.0


class Away(Exception):
    """Valkey does not answer, or can't do what it is asked for. The message has its words, and never a password."""


class Connection(valkey.Connection):
    """Connects with the password, or with one that was valid before: a new one becomes Valkey's when all know it."""

    def __init__(self, *, passwords: tuple[str, ...] = (), **arguments: Any) -> None:
        untyped: Any = super()
        untyped.__init__(**arguments)
        self._passwords = passwords

    def connect(self) -> None:
        untyped: Any = super()
        # Once more at the end: perhaps it became the valid one while the earlier ones were tried.
        candidates = (*self._passwords, self._passwords[0]) if len(self._passwords) > 1 else self._passwords
        for number, password in enumerate(candidates, 1):
            self.password = password
            try:
                untyped.connect()
            except valkey.AuthenticationError:
                if number == len(candidates):
                    raise
            else:
                return
        if not candidates:
            untyped.connect()


def connect(settings: environment.Valkey, *, patience: float = 0, passwords: tuple[str, ...] | None = None) -> Any:
    """A client. It waits `patience` seconds longer for an answer than for a connection."""
    pool = valkey.ConnectionPool(
        connection_class=Connection,
        host=settings.host,
        port=settings.port,
        username=settings.user,
        passwords=settings.passwords if passwords is None else passwords,
        socket_connect_timeout=settings.timeout,
        socket_timeout=settings.timeout + patience,
        socket_keepalive=True,
        client_name="business-logic",
        decode_responses=True,
        # A kept connection that a restart of the server has ended is made again, once.
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[valkey.ConnectionError],
    )
    return valkey.Valkey(connection_pool=pool)


class Gate:
    """While Valkey is away, lets somebody try it once in PAUSE seconds and refuses the others at once."""

    def __init__(self) -> None:
        self._again_at = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def passage(self) -> Iterator[None]:
        """Around work that needs Valkey; raises Away."""
        with self._lock:
            if time.monotonic() < self._again_at:
                raise Away("Valkey did not answer a moment ago.")
            if self._again_at:
                self._again_at = time.monotonic() + PAUSE
        try:
            yield
        except valkey.ValkeyError as error:
            with self._lock:
                self._again_at = time.monotonic() + PAUSE
            metrics.valkey_up.set(0)
            raise Away(reason(error)) from error
        with self._lock:
            self._again_at = 0.0
        metrics.valkey_up.set(1)


def set_password(settings: environment.Valkey) -> bool:
    """Make the password the only one of the user; whether it was not before. Raises valkey.ValkeyError.

    AuthenticationError where Valkey takes neither it nor an earlier one.
    """
    password, *earlier = settings.passwords
    try:
        connect(settings, passwords=(password,)).ping()
    except valkey.AuthenticationError:
        changed = True
    else:
        changed = False
    if changed or earlier:
        client = connect(settings)
        # Only its sum is sent and kept.
        digest = hashlib.sha256(password.encode()).hexdigest()
        client.execute_command("ACL SETUSER", settings.user, "resetpass", f"#{digest}")
        client.execute_command("ACL SAVE")
    return changed
