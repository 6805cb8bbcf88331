"""Connects with the password, or with one that was valid before: a new one becomes the database's when all know it."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db.backends.postgresql import base

from business_logic.database import is_refusal


class DatabaseWrapper(base.DatabaseWrapper):
    """``EARLIER_PASSWORDS`` of its settings: earlier passwords, the newest first."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return a connection, with the first password that the database takes."""
        earlier = self.settings_dict.get("EARLIER_PASSWORDS", [])
        for password in [conn_params.get("password"), *earlier] if earlier else []:
            try:
                return super().get_new_connection({**conn_params, "password": password})
            except psycopg.OperationalError as error:
                if not is_refusal(error):
                    raise
        # Perhaps it became the valid one while the earlier ones were tried.
        return super().get_new_connection(conn_params)
