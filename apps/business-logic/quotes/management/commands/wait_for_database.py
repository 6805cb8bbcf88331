"""Wait until the database answers: for a job that may start before it."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from business_logic.database import UNAVAILABLE, is_refusal, reason


class Command(BaseCommand):
    help = "Waits until the database answers; fails with its last words when the time is over."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--timeout", type=float, default=60, help="seconds to wait at most (default: 60)")

    def handle(self, *args: Any, **options: Any) -> None:
        deadline = time.monotonic() + options["timeout"]
        while True:
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
            except UNAVAILABLE as error:
                connection.close()
                if is_refusal(error):
                    words = f"The database takes neither the password nor an earlier one: {reason(error)}"
                    raise CommandError(words) from error
                left = deadline - time.monotonic()
                if left <= 0:
                    words = f"The database did not answer within {options['timeout']:g} s: {reason(error)}"
                    raise CommandError(words) from error
                time.sleep(min(1, left))
            else:
                self.stdout.write("The database answers.")
                return
