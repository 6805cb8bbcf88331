"""What only a real PostgreSQL shows: constraints, concurrency, outages, migrations. Needs PGHOST and others."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from quotes.models import Quote
from tests.servers import PROJECT, Door, Server, environment, eventually

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="PGHOST is not set"),
    pytest.mark.django_db(transaction=True),
]

QUOTE = {"symbol": "ACME", "price": "1.5", "quoted_at": "2026-01-05T21:00:00Z"}


def variables(**changes: str) -> dict[str, str]:
    """The database of this test, for a server process."""
    found = {
        "PGHOST": str(connection.settings_dict["HOST"]),
        "PGPORT": str(connection.settings_dict["PORT"]),
        "PGUSER": str(connection.settings_dict["USER"]),
        "PGDATABASE": str(connection.settings_dict["NAME"]),
        **{name: os.environ[name] for name in ("PGPASSWORD", "PGPASSWORD_FILE") if name in os.environ},
    }
    return {**found, **changes}


def manage(*command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=PROJECT,
        env=environment(**variables(**changes)),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def door() -> Iterator[Door]:
    settings = connection.settings_dict
    with Door(str(settings["HOST"]), int(settings["PORT"])) as opened:
        yield opened


@pytest.fixture
def server(tmp_path: Path, door: Door) -> Iterator[Server]:
    """The service, with a door between it and its database."""
    with Server(tmp_path / "log", **variables(PGHOST="127.0.0.1", PGPORT=str(door.port))) as running:
        yield running


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"price": 0}, "quotes_quote_price_range"),
        ({"price": "NaN"}, "quotes_quote_price_range"),
        ({"symbol": "acme"}, "quotes_quote_symbol"),
        ({"symbol": ""}, "quotes_quote_symbol"),
        ({"symbol": "A\n"}, "quotes_quote_symbol"),
        ({"currency": "us"}, "quotes_quote_currency"),
    ],
)
def test_the_database_holds_the_rules_itself(changes: dict[str, Any], constraint: str) -> None:
    values = {"symbol": "ACME", "price": "1", "currency": "USD", **changes}
    columns = "symbol, price, currency, quoted_at, created_at"
    statement = f"INSERT INTO quotes_quote ({columns}) VALUES (%s, %s, %s, now(), now())"
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, [values["symbol"], values["price"], values["currency"]])


def test_greatest_price_comes_back_exactly(server: Server) -> None:
    assert server.post({**QUOTE, "price": "9999999999.9999"}).status == 201
    assert server.get("/api/quotes/ACME/").json["latest"]["price"] == "9999999999.9999"


def test_of_many_at_once_one_is_stored(server: Server) -> None:
    start = threading.Barrier(8)

    def add(price: int) -> int:
        start.wait()
        return server.post({**QUOTE, "price": price}).status

    for minute in range(10):
        QUOTE["quoted_at"] = f"2026-01-05T21:{minute:02}:00Z"
        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(add, range(1, 9))) == [201] + [409] * 7
    assert Quote.objects.count() == 10


def test_outage_and_return(server: Server, door: Door) -> None:
    assert server.post(QUOTE).status == 201
    assert server.get("/readyz").status == 200
    for _ in range(2):
        door.shut()
        statuses = {server.get("/api/quotes/").status for _ in range(20)}
        assert statuses == {503}
        assert server.post(QUOTE).status == 503
        assert server.get("/readyz").status == 503
        assert server.get("/livez").status == 200
        door.open()
        eventually(lambda: server.get("/readyz").status == 200, "ready again")
        assert [server.get("/api/quotes/").status for _ in range(20)] == [200] * 20
        assert server.post(QUOTE).status == 409


def test_ended_connections_cost_no_request(server: Server) -> None:
    """As after a restart of the database: connections that were kept are found dead and made anew."""
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: server.get("/api/quotes/").status, range(40))) == {200}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'business-logic'"
            " AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone()[0] >= 1
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: server.get("/api/quotes/").status, range(40))) == {200}


def test_silent_database_does_not_stop_the_liveness_probe(server: Server, door: Door) -> None:
    """A node that vanished: connections are neither refused nor answered."""
    door.silence()
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(server.get, "/api/quotes/") for _ in range(60)]
        time.sleep(3)  # the first attempts, one per thread, are over
        times = []
        for _ in range(10):
            start = time.monotonic()
            assert server.get("/livez").status == 200
            times.append(time.monotonic() - start)
        assert {answer.result().status for answer in answers} == {503}
    assert max(times) < 4
    door.shut()
    door.open()
    eventually(lambda: server.get("/api/quotes/").status == 200, "answers again")


def test_statement_that_takes_too_long(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "log", **variables(DATABASE_STATEMENT_TIMEOUT="1")) as server,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("LOCK TABLE quotes_quote")
        start = time.monotonic()
        assert server.get("/api/quotes/").status == 503
        assert time.monotonic() - start < 10
        assert "statement timeout" in server.log.read_text()


class TestPassword:
    """A role of this class alone, so that the other tests keep their password."""

    ROLE = "quotes_of_test_password"

    @pytest.fixture(autouse=True)
    def _role(self) -> Iterator[None]:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP ROLE IF EXISTS {self.ROLE}")
            cursor.execute(f"CREATE ROLE {self.ROLE} SUPERUSER LOGIN PASSWORD 'first'")
        yield
        with connection.cursor() as cursor:
            cursor.execute(f"DROP ROLE {self.ROLE}")

    def variables(self, directory: Path, password: str, *earlier: str) -> dict[str, str]:
        """Two files, as a Secret of Kubernetes holds them."""
        files = {"PGPASSWORD_FILE": password, "PGPASSWORD_EARLIER_FILE": "\n".join(earlier)}
        names = {}
        for name, content in files.items():
            path = directory / f"{name}.{password}"
            path.write_text(content)
            names[name] = str(path)
        return {"PGUSER": self.ROLE, "DATABASE_CONNECTION_MAX_AGE": "0", **names}

    def test_a_new_password_loses_no_request(self, tmp_path: Path) -> None:
        old, new = self.variables(tmp_path, "first"), self.variables(tmp_path, "it's\\new", "never was", "first")
        with Server(tmp_path / "old", **variables(**old)) as before:
            assert before.get("/api/quotes/").status == 200
            with Server(tmp_path / "new", **variables(**new)) as after, ThreadPoolExecutor(4) as pool:
                # The old server ends before the password changes; the new one serves all the while.
                assert before.get("/api/quotes/").status == 200
                asked = [pool.submit(after.get, "/api/quotes/") for _ in range(60)]
                changed = manage("set_database_password", **new)
                asked += [pool.submit(after.get, "/api/quotes/") for _ in range(60)]
                assert changed.stdout == "The password was changed from an earlier one.\n", changed.stderr
                assert {answer.result().status for answer in asked} == {200}
                assert before.get("/api/quotes/").status == 503
        again = manage("set_database_password", **new)
        assert again.stdout == "The password is the database's.\n", again.stderr

    @pytest.mark.parametrize("command", ["set_database_password", "wait_for_database"])
    def test_a_password_that_never_was_is_told_at_once(self, tmp_path: Path, command: str) -> None:
        began = time.monotonic()
        refused = manage(command, **self.variables(tmp_path, "wrong", "wrong too"))
        assert refused.returncode == 1
        assert "the password" in refused.stderr
        assert "earlier" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert "wrong too" not in refused.stderr
        assert time.monotonic() - began < 30

    def test_where_the_database_is_away_it_says_so(self, tmp_path: Path) -> None:
        refused = manage("set_database_password", PGPORT="1", **self.variables(tmp_path, "first"))
        assert refused.returncode == 1
        assert "does not answer: connection failed" in refused.stderr


class TestMigrations:
    NAME = "quotes_of_test_migrations"

    @pytest.fixture(autouse=True)
    def _empty_database(self) -> Iterator[None]:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {self.NAME}")
            cursor.execute(f"CREATE DATABASE {self.NAME}")
        yield
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {self.NAME} WITH (FORCE)")

    def test_hook_makes_a_waiting_server_ready(self, tmp_path: Path) -> None:
        with Server(tmp_path / "log", **variables(PGDATABASE=self.NAME)) as server:
            answer = server.get("/readyz")
            assert answer.status == 503
            assert "quotes.0001_initial" in answer.json["checks"]["migrations"]
            for expected in ("100 quotes added, 0 were", "0 quotes added, 100 were"):
                for command in (["wait_for_database", "--timeout", "5"], ["migrate", "--no-input"], ["seed_quotes"]):
                    result = manage(*command, PGDATABASE=self.NAME)
                    assert result.returncode == 0, result.stderr
                assert result.stdout.startswith(expected)
            assert server.get("/readyz").status == 200
            assert len(server.get("/api/quotes/").json["quotes"]) == 100

    def test_and_back(self) -> None:
        for target in ([], ["quotes", "zero"], []):
            result = manage("migrate", *target, PGDATABASE=self.NAME)
            assert result.returncode == 0, result.stderr

    def test_wait_for_database_says_why(self) -> None:
        result = manage("wait_for_database", "--timeout", "1", PGPORT="1")
        assert result.returncode == 1
        assert "did not answer within 1 s: connection failed" in result.stderr
        assert "Traceback" not in result.stderr
