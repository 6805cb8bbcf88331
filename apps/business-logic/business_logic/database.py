"""What to do while the database is away: answer 503, soon, and notice by itself when it is back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError

from business_logic import metrics
from business_logic.problems import Problem

UNAVAILABLE = (OperationalError, InterfaceError)
RETRY_AFTER = "2"
# The server's words for the state 28P01, which libpq does not hand on for a connection that never was.
REFUSED = "password authentication failed"


def reason(error: BaseException) -> str:
    """The database driver's words in one line. They name host, port and user, never the password."""
    return " ".join(str(error).split()) or type(error).__name__


def is_refusal(error: BaseException) -> bool:
    """Whether the database does not take the password, nor an earlier one: asking again does not help."""
    return REFUSED in str(error)


def unavailable() -> Problem:
    detail = "The database can't be reached at present. Try again in a moment."
    return Problem("database-unavailable", detail, headers={"Retry-After": RETRY_AFTER})


class Gate:
    """While the database is away, lets one request at a time try it and refuses the others at once.

    An attempt to connect can take as long as DATABASE_CONNECT_TIMEOUT. Without the gate every thread would soon wait
    for one, nobody would answer the liveness probe, and the kubelet would restart a healthy process.
    """

    def __init__(self) -> None:
        self._away = False
        self._attempt = threading.Lock()

    @contextmanager
    def passage(self) -> Iterator[None]:
        """Around work that needs the database; raises Problem where it is away."""
        single = self._away
        if single and not self._attempt.acquire(blocking=False):
            raise unavailable()
        try:
            yield
        except UNAVAILABLE as error:
            self._away = True
            metrics.database_up.set(0)
            raise unavailable() from error
        else:
            self._away = False
            metrics.database_up.set(1)
        finally:
            if single:
                self._attempt.release()


gate = Gate()
