"""Make the password that the service has the one of its database's user: for a job that runs when all know it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from business_logic.database import UNAVAILABLE, is_refusal, reason


class Command(BaseCommand):
    help = "Changes the password of the database's user to PGPASSWORD where it is still one of the earlier ones."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        if connection.vendor != "postgresql":
            raise CommandError("Only PostgreSQL has passwords.")
        earlier = connection.settings_dict.get("EARLIER_PASSWORDS", [])
        try:
            if self._answers([]):
                self.stdout.write("The password is the database's.")
                return
            if not self._answers(earlier):
                words = "The database refuses the password and all earlier ones: put the right one back."
                raise CommandError(words)
            user, password = (str(connection.settings_dict[key]) for key in ("USER", "PASSWORD"))
            with connection.cursor() as cursor:
                # Encrypted here, so that neither the database's log nor its statistics see it.
                encrypted = cursor.connection.pgconn.encrypt_password(
                    password.encode(), user.encode(), b"scram-sha-256"
                ).decode()
                cursor.execute("ALTER ROLE CURRENT_USER PASSWORD %s", [encrypted])
        except UNAVAILABLE as error:
            raise CommandError(f"The database does not answer: {reason(error)}") from error
        finally:
            connection.settings_dict["EARLIER_PASSWORDS"] = earlier
            connection.close()
        self.stdout.write("The password was changed from an earlier one.")

    @staticmethod
    def _answers(earlier: list[str]) -> bool:
        """Whether the database lets the password in, or one of the earlier ones."""
        connection.close()
        connection.settings_dict["EARLIER_PASSWORDS"] = earlier
        try:
            connection.ensure_connection()
        except UNAVAILABLE as error:
            if is_refusal(error):
                return False
            raise
        return True
