"""Liveness: the process answers. Readiness: it can do its work."""

from __future__ import annotations

import threading

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from business_logic import database, metrics
from business_logic.problems import Problem

# Set by the server when it is told to stop and serves on for a while.
draining = threading.Event()


def livez(request: HttpRequest) -> JsonResponse:
    """Never looks at the database: a restart would not bring that back."""
    return JsonResponse({"status": "alive"})


def pending_migrations() -> list[str]:
    """Migrations that the database lacks. One that it has in excess is a newer version's and does no harm."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def readyz(request: HttpRequest) -> JsonResponse:
    checks = {"server": "ok", "database": "ok", "migrations": "ok"}
    if draining.is_set():
        checks["server"] = "is shutting down"
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        metrics.database_up.set(1)
        if pending := pending_migrations():
            checks["migrations"] = f"not applied: {', '.join(pending)} (run: manage.py migrate)"
    except database.UNAVAILABLE as error:
        metrics.database_up.set(0)
        checks["database"] = database.reason(error)
        checks["migrations"] = "unknown"
    except Error as error:
        checks["migrations"] = database.reason(error)
    failed = {name: words for name, words in checks.items() if words not in ("ok", "unknown")}
    if failed:
        detail = "; ".join(f"{name}: {words}" for name, words in failed.items())
        raise Problem("not-ready", detail, checks=checks)
    return JsonResponse({"status": "ready", "checks": checks})
