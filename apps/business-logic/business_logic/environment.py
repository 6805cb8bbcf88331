"""The service's configuration, read from environment variables; README.md lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
SECRET_KEY_LENGTH = 32
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
URL_PARAMETERS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "application_name", "target_session_attrs")

_HOST = re.compile(r"\*|\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]", re.IGNORECASE)


class ConfigurationError(Exception):
    """Everything that is wrong with the environment, a sentence for each variable."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("business-logic can't start:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class Valkey:
    """Where quotes are published. `passwords`: the one that holds and then earlier ones, the newest first."""

    host: str
    port: int
    user: str
    passwords: tuple[str, ...] = field(repr=False)
    timeout: int


@dataclass(frozen=True)
class Configuration:
    """Valid settings. Times are in seconds."""

    secret_key: str = field(repr=False)
    allowed_hosts: tuple[str, ...]
    database: dict[str, Any] = field(repr=False)
    log_level: str
    log_probes: bool
    port: int
    threads: int
    drain_seconds: int
    graceful_timeout: int
    client_timeout: int
    valkey: Valkey | None
    stream_length: int
    stream_limit: int
    stream_heartbeat: int


class _Reader:
    """Reads variables one by one and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.problems: list[str] = []

    def problem(self, name: str, words: str) -> None:
        self.problems.append(f"{name}: {words}")

    def text(self, name: str, default: str = "") -> str:
        return self.environment.get(name, "").strip() or default

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        text = self.text(name, str(default))
        if re.fullmatch(r"[0-9]{1,9}", text) and least <= int(text) <= most:
            return int(text)
        self.problem(name, f'is "{text}", expected a whole number from {least} to {most}')
        return default

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        text = self.text(name, default)
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        self.problem(name, f'is "{text}", expected one of {", ".join(choices)}')
        return default

    def secret(self, name: str) -> str:
        """The value of NAME or, in preference to it, what is in the file that NAME_FILE names."""
        path = self.text(f"{name}_FILE")
        if not path:
            return self.environment.get(name, "")
        try:
            value = Path(path).read_text(encoding="utf-8").strip("\r\n")
        except OSError as error:
            self.problem(f"{name}_FILE", f'can\'t read "{path}": {error.strerror}')
        except UnicodeDecodeError:
            self.problem(f"{name}_FILE", f'"{path}" is not a text file in UTF-8')
        else:
            if value:
                return value
            self.problem(f"{name}_FILE", f'"{path}" is empty')
        return ""

    def lines(self, name: str) -> list[str]:
        """The lines of the file that NAME_FILE names, none where it names none; the file may be empty."""
        path = self.text(f"{name}_FILE")
        try:
            return [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line] if path else []
        except OSError as error:
            self.problem(f"{name}_FILE", f'can\'t read "{path}": {error.strerror}')
        except UnicodeDecodeError:
            self.problem(f"{name}_FILE", f'"{path}" is not a text file in UTF-8')
        return []

    def failed(self, *names: str) -> bool:
        """Whether something wrong was found with one of these variables already."""
        return any(problem.partition(":")[0] in names for problem in self.problems)


def _read_secret_key(reader: _Reader) -> str:
    key = reader.secret("SECRET_KEY")
    if reader.failed("SECRET_KEY_FILE"):
        return key
    if not key:
        reader.problem(
            "SECRET_KEY_FILE",
            f"not set; name a file with at least {SECRET_KEY_LENGTH} random characters (or set SECRET_KEY)",
        )
    elif len(key) < SECRET_KEY_LENGTH:
        name = "SECRET_KEY_FILE" if reader.text("SECRET_KEY_FILE") else "SECRET_KEY"
        reader.problem(name, f"the key has {len(key)} characters, expected at least {SECRET_KEY_LENGTH}")
    return key


def _read_allowed_hosts(reader: _Reader) -> tuple[str, ...]:
    hosts = tuple(filter(None, (host.strip() for host in reader.text("ALLOWED_HOSTS").split(","))))
    if not hosts:
        reader.problem(
            "ALLOWED_HOSTS",
            "not set; list the host names clients use, with commas, such as business-logic,.website.svc (* allows all)",
        )
    for host in hosts:
        if not _HOST.fullmatch(host):
            reader.problem("ALLOWED_HOSTS", f'"{host}" is not a host name (no scheme, no port, no path)')
    return hosts


def _read_database_url(reader: _Reader, password: str) -> dict[str, Any]:
    url = reader.text("DATABASE_URL")
    expected = "expected postgresql://user@host:5432/name"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        reader.problem("DATABASE_URL", f"is not an address, {expected}")
        return {}
    if parts.scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path.removeprefix("/") or ":memory:"}
    if parts.scheme not in ("postgresql", "postgres"):
        reader.problem("DATABASE_URL", f'has the scheme "{parts.scheme}", {expected}')
        return {}
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in sorted(set(options) - set(URL_PARAMETERS)):
        reader.problem("DATABASE_URL", f'has an unknown parameter "{name}", known are {", ".join(URL_PARAMETERS)}')
    if options.get("sslmode", "prefer") not in SSL_MODES:
        reader.problem("DATABASE_URL", f"has an unknown sslmode, known are {', '.join(SSL_MODES)}")
    database = {
        "HOST": unquote(parts.hostname or ""),
        "PORT": port or 5432,
        "NAME": unquote(parts.path.removeprefix("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or "") or password,
        "OPTIONS": options,
    }
    for key, words in (("HOST", "host"), ("NAME", "database name"), ("USER", "user")):
        if not database[key]:
            reader.problem("DATABASE_URL", f"has no {words}, {expected}")
    return database


def _read_database_variables(reader: _Reader, password: str) -> dict[str, Any]:
    database: dict[str, Any] = {"PASSWORD": password, "PORT": reader.integer("PGPORT", 5432, 1, 65535)}
    for key, name in (("HOST", "PGHOST"), ("NAME", "PGDATABASE"), ("USER", "PGUSER")):
        database[key] = reader.text(name)
        if not database[key]:
            reader.problem(name, "not set (or give all of the database in DATABASE_URL)")
    database["OPTIONS"] = {"sslmode": reader.choice("PGSSLMODE", "prefer", SSL_MODES)}
    if certificate := reader.text("PGSSLROOTCERT"):
        database["OPTIONS"]["sslrootcert"] = certificate
    return database


def _read_database(reader: _Reader) -> dict[str, Any]:
    """Django's settings for the database.

    A connection is kept per thread and tried before it is used again, so that a database that comes back is found
    without a restart. The TCP settings end a connection whose other end vanished.
    """
    password = reader.secret("PGPASSWORD")
    connect_timeout = reader.integer("DATABASE_CONNECT_TIMEOUT", 2, 1, 60)
    statement_timeout = reader.integer("DATABASE_STATEMENT_TIMEOUT", 5, 0, 3600)
    max_age = reader.integer("DATABASE_CONNECTION_MAX_AGE", 300, 0, 86400)
    read = _read_database_url if reader.text("DATABASE_URL") else _read_database_variables
    database = {"CONN_MAX_AGE": max_age, "CONN_HEALTH_CHECKS": True, **read(reader, password)}
    if "ENGINE" in database:
        return database
    database["ENGINE"] = "business_logic.postgresql"
    database["EARLIER_PASSWORDS"] = reader.lines("PGPASSWORD_EARLIER")
    database["OPTIONS"] = {
        "application_name": "business-logic",
        "connect_timeout": connect_timeout,
        "options": f"-c statement_timeout={statement_timeout * 1000}",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        **database.get("OPTIONS", {}),
    }
    return database


def _read_valkey(reader: _Reader) -> Valkey | None:
    """Without a host quotes are stored, and not published."""
    host = reader.text("VALKEY_HOST")
    password = reader.secret("VALKEY_PASSWORD")
    valkey = Valkey(
        host=host,
        port=reader.integer("VALKEY_PORT", 6379, 1, 65535),
        user=reader.text("VALKEY_USER", "default"),
        passwords=tuple(filter(None, (password, *reader.lines("VALKEY_PASSWORD_EARLIER")))),
        timeout=reader.integer("VALKEY_TIMEOUT", 1, 1, 60),
    )
    return valkey if host else None


def read(environment: Mapping[str, str]) -> Configuration:
    """Read and check all variables; raise ConfigurationError with everything that is wrong."""
    reader = _Reader(environment)
    drain = reader.integer("DRAIN_SECONDS", 5, 0, 300)
    graceful = reader.integer("GRACEFUL_TIMEOUT", 25, 1, 3600)
    if drain >= graceful and not reader.failed("DRAIN_SECONDS", "GRACEFUL_TIMEOUT"):
        reader.problem("DRAIN_SECONDS", f"is {drain}, expected less than GRACEFUL_TIMEOUT, which is {graceful}")
    configuration = Configuration(
        secret_key=_read_secret_key(reader),
        allowed_hosts=_read_allowed_hosts(reader),
        database=_read_database(reader),
        log_level=reader.choice("LOG_LEVEL", "INFO", LOG_LEVELS),
        log_probes=reader.choice("LOG_PROBES", "true", ("true", "false")) == "true",
        port=reader.integer("PORT", 8000, 1, 65535),
        threads=reader.integer("WEB_THREADS", 8, 2, 128),
        drain_seconds=drain,
        graceful_timeout=graceful,
        client_timeout=reader.integer("CLIENT_TIMEOUT", 10, 1, 300),
        valkey=_read_valkey(reader),
        stream_length=reader.integer("STREAM_LENGTH", 10_000, 100, 10_000_000),
        stream_limit=reader.integer("STREAM_LIMIT", 200, 1, 900),
        stream_heartbeat=reader.integer("STREAM_HEARTBEAT", 5, 1, 60),
    )
    if reader.problems:
        raise ConfigurationError(reader.problems)
    return configuration
