"""Settings from environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from business_logic.environment import Configuration, ConfigurationError, read

KEY = "k" * 32
COMPLETE = {
    "SECRET_KEY": KEY,
    "ALLOWED_HOSTS": "business-logic, .website.svc",
    "PGHOST": "db",
    "PGDATABASE": "quotes",
    "PGUSER": "api",
    "PGPASSWORD": "pass",
}
URL = "postgresql://api:p%40ss@db:6543/quotes?sslmode=verify-full&sslrootcert=/ca.crt"


def read_with(**changes: str | None) -> Configuration:
    environment = {**COMPLETE, **changes}
    return read({name: value for name, value in environment.items() if value is not None})


def problems_with(**changes: str | None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_with(**changes)
    assert str(caught.value).startswith("business-logic can't start:\n  - ")
    return caught.value.problems


def test_variables_of_postgresql() -> None:
    configuration = read_with(PGPORT="5433", PGSSLMODE="require", PGSSLROOTCERT="/ca.crt")
    database = configuration.database
    assert configuration.allowed_hosts == ("business-logic", ".website.svc")
    expected = ("db", 5433, "quotes", "api", "pass")
    assert tuple(database[key] for key in ("HOST", "PORT", "NAME", "USER", "PASSWORD")) == expected
    assert database["OPTIONS"]["sslmode"] == "require"
    assert database["OPTIONS"]["sslrootcert"] == "/ca.crt"
    assert database["OPTIONS"]["connect_timeout"] == 2
    assert database["OPTIONS"]["options"] == "-c statement_timeout=5000"
    assert database["CONN_HEALTH_CHECKS"] is True
    assert database["CONN_MAX_AGE"] == 300


def test_database_url() -> None:
    database = read_with(DATABASE_URL=URL, PGHOST=None, PGDATABASE=None, PGUSER=None, PGPASSWORD=None).database
    expected = ("db", 6543, "quotes", "api", "p@ss")
    assert tuple(database[key] for key in ("HOST", "PORT", "NAME", "USER", "PASSWORD")) == expected
    assert database["OPTIONS"]["sslmode"] == "verify-full"
    assert database["OPTIONS"]["application_name"] == "business-logic"


def test_secrets_from_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    (tmp_path / "password").write_text(" with blanks \n")
    configuration = read_with(
        SECRET_KEY=None,
        SECRET_KEY_FILE=str(tmp_path / "key"),
        PGPASSWORD_FILE=str(tmp_path / "password"),
        DATABASE_URL="postgresql://api@db/quotes",
    )
    assert configuration.secret_key == KEY
    assert configuration.database["PASSWORD"] == " with blanks "
    assert "with blanks" not in repr(configuration)
    assert KEY not in repr(configuration)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "UTF-8")],
)
@pytest.mark.parametrize("name", ["SECRET_KEY_FILE", "PGPASSWORD_FILE"])
def test_wrong_secret_file(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    (problem,) = problems_with(**{name: str(path)})
    assert problem.startswith(f"{name}: ")
    assert words in problem
    assert str(path) in problem


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read({})
    names = [problem.partition(":")[0] for problem in caught.value.problems]
    assert names == ["SECRET_KEY_FILE", "ALLOWED_HOSTS", "PGHOST", "PGDATABASE", "PGUSER"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SECRET_KEY", "short", "has 5 characters"),
        ("ALLOWED_HOSTS", " , ", "not set"),
        ("ALLOWED_HOSTS", "http://a", "not a host name"),
        ("ALLOWED_HOSTS", "a:8000", "not a host name"),
        ("PGPORT", "0", "from 1 to 65535"),
        ("PGPORT", "5432x", "from 1 to 65535"),
        ("PGPORT", "\N{ARABIC-INDIC DIGIT FIVE}", "from 1 to 65535"),
        ("PGHOST", "", "not set"),
        ("PGSSLMODE", "yes", "verify-full"),
        ("PORT", "tcp://10.96.0.1:8000", "from 1 to 65535"),
        ("WEB_THREADS", "1", "from 2 to 128"),
        ("LOG_LEVEL", "loud", "DEBUG, INFO"),
        ("LOG_PROBES", "yes", "true, false"),
        ("DATABASE_CONNECT_TIMEOUT", "-1", "from 1 to 60"),
        ("DRAIN_SECONDS", "25", "less than GRACEFUL_TIMEOUT"),
        ("DATABASE_URL", "mysql://a@b/c", 'scheme "mysql"'),
        ("DATABASE_URL", "postgresql://a@b:port/c", "is not an address"),
        ("DATABASE_URL", "postgresql://b/c", "has no user"),
        ("DATABASE_URL", "postgresql://a@b", "has no database name"),
        ("DATABASE_URL", "postgresql://a@b/c?sslmod=x", 'unknown parameter "sslmod"'),
        ("DATABASE_URL", "postgresql://a@b/c?sslmode=x", "unknown sslmode"),
    ],
)
def test_wrong_value_names_the_variable(name: str, value: str, words: str) -> None:
    (problem,) = problems_with(**{name: value})
    assert problem.startswith(f"{name}: ")
    assert words in problem


def test_a_password_never_shows_in_an_error() -> None:
    for url in ("postgresql://a:hunter2@b:port/c", "mysql://a:hunter2@b/c", "postgresql://a:hunter2@/c?x=1"):
        assert "hunter2" not in str(problems_with(DATABASE_URL=url))


@pytest.mark.parametrize(("given", "expected"), [("info", "INFO"), ("Warning", "WARNING"), ("", "INFO")])
def test_log_level(given: str, expected: str) -> None:
    assert read_with(LOG_LEVEL=given).log_level == expected


@pytest.mark.parametrize("hosts", ["*", "localhost", "127.0.0.1", "[::1]", ".svc.cluster.local"])
def test_host_names(hosts: str) -> None:
    assert read_with(ALLOWED_HOSTS=hosts).allowed_hosts == (hosts,)


def test_settings_of_production(settings: Any) -> None:
    assert settings.DEBUG is False
    assert settings.USE_TZ is True
    assert settings.INSTALLED_APPS == ["quotes"]


class TestValkey:
    def test_is_not_needed(self) -> None:
        configuration = read_with()
        assert configuration.valkey is None
        assert (configuration.stream_length, configuration.stream_limit, configuration.stream_heartbeat) == (
            10_000,
            200,
            5,
        )

    def test_with_earlier_passwords(self, tmp_path: Path) -> None:
        (tmp_path / "password").write_text("new\n")
        (tmp_path / "earlier").write_text("second\nfirst\n")
        valkey = read_with(
            VALKEY_HOST="valkey",
            VALKEY_USER="quotes",
            VALKEY_PASSWORD_FILE=str(tmp_path / "password"),
            VALKEY_PASSWORD_EARLIER_FILE=str(tmp_path / "earlier"),
        ).valkey
        assert valkey is not None
        assert (valkey.host, valkey.port, valkey.user, valkey.timeout) == ("valkey", 6379, "quotes", 1)
        assert valkey.passwords == ("new", "second", "first")
        assert "second" not in repr(valkey)

    def test_everything_wrong_is_named(self, tmp_path: Path) -> None:
        wrong = {
            "VALKEY_PORT": "x",
            "VALKEY_TIMEOUT": "0",
            "VALKEY_PASSWORD_FILE": str(tmp_path / "nothing"),
            "VALKEY_PASSWORD_EARLIER_FILE": str(tmp_path / "nothing"),
            "STREAM_LENGTH": "1",
            "STREAM_LIMIT": "1000",
            "STREAM_HEARTBEAT": "0",
        }
        problems = problems_with(VALKEY_HOST="valkey", **wrong)
        assert sorted(problem.partition(":")[0] for problem in problems) == sorted(wrong)
