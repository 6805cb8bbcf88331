"""The domain: prices of symbols."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.backends.signals import connection_created

from business_logic import database


class QuotesConfig(AppConfig):
    name = "quotes"

    def ready(self) -> None:
        connection_created.connect(database.trace_statements)
