"""Liveness, readiness and waiting for the database."""

from __future__ import annotations

import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from business_logic import health
from business_logic.database import Gate
from business_logic.problems import Problem
from tests.conftest import problem

pytestmark = pytest.mark.django_db


def test_ready(client: Client) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "checks": {"server": "ok", "database": "ok", "migrations": "ok"}}


@pytest.mark.usefixtures("database_away")
def test_database_away(client: Client) -> None:
    assert client.get("/livez").status_code == 200
    document = problem(client.get("/readyz"), 503, "not-ready")
    reason = 'connection to server at "db" failed: Connection refused'
    assert document["detail"] == f"database: {reason}"
    assert document["checks"] == {"server": "ok", "database": reason, "migrations": "unknown"}


def test_pending_migration(client: Client) -> None:
    MigrationRecorder(connection).record_unapplied("quotes", "0003_traceparent")
    document = problem(client.get("/readyz"), 503, "not-ready")
    assert document["checks"]["database"] == "ok"
    assert document["detail"] == "migrations: not applied: quotes.0003_traceparent (run: manage.py migrate)"


def test_a_newer_versions_migration_does_no_harm(client: Client) -> None:
    MigrationRecorder(connection).record_applied("quotes", "9999_of_a_newer_version")
    assert client.get("/readyz").status_code == 200


def test_shutting_down(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "draining", threading.Event())
    health.draining.set()
    assert problem(client.get("/readyz"), 503, "not-ready")["detail"] == "server: is shutting down"
    assert client.get("/livez").status_code == 200


def test_wait_for_database(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("wait_for_database", timeout=0)
    assert capsys.readouterr().out == "The database answers.\n"


@pytest.mark.usefixtures("database_away")
def test_wait_for_database_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "close", lambda: None)
    with pytest.raises(CommandError, match=r"did not answer within 0\.1 s: connection to server .* refused"):
        call_command("wait_for_database", timeout=0.1)


class TestGate:
    """While the database is away, one request at a time tries it."""

    @staticmethod
    def fail(gate: Gate) -> None:
        with pytest.raises(Problem), gate.passage():
            raise OperationalError

    def test_others_are_refused_at_once(self) -> None:
        gate = Gate()
        with gate.passage(), gate.passage():
            pass
        self.fail(gate)
        with gate.passage(), pytest.raises(Problem), gate.passage():
            pytest.fail("The second one must not get in.")
        with gate.passage(), gate.passage():
            pass

    def test_stays_shut_until_an_attempt_succeeds(self) -> None:
        gate = Gate()
        for _ in range(3):
            self.fail(gate)
        with pytest.raises(ZeroDivisionError), gate.passage():
            raise ZeroDivisionError
        with gate.passage(), pytest.raises(Problem), gate.passage():
            pass
        with gate.passage(), gate.passage():
            pass
