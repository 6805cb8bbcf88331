"""The service's settings in the tests' environment: SQLite in memory, or the PostgreSQL that PGHOST and others name."""

from __future__ import annotations

import os

os.environ.setdefault("SECRET_KEY", "only-for-tests-and-never-in-real-use")
os.environ.setdefault("ALLOWED_HOSTS", "testserver,.example.test")
if "PGHOST" not in os.environ:
    os.environ.setdefault("DATABASE_URL", "sqlite:")

from business_logic.settings import *
