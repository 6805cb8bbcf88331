"""Make the password that the service has the one of Valkey's user: for a job that runs when all know it."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

import valkey
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from business_logic import streams
from business_logic.database import reason


class Command(BaseCommand):
    help = "Makes VALKEY_PASSWORD the only password of Valkey's user, where it is it or one of the earlier ones."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--timeout", type=float, default=60, help="seconds to wait for Valkey (default: 60)")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.VALKEY is None or not settings.VALKEY.passwords:
            raise CommandError("VALKEY_HOST or VALKEY_PASSWORD_FILE is not set: there is no password to set.")
        deadline = time.monotonic() + options["timeout"]
        while True:
            try:
                changed = streams.set_password(settings.VALKEY)
            except valkey.AuthenticationError as error:
                words = "Valkey refuses the password and all earlier ones: put the right one back."
                raise CommandError(words) from error
            except (valkey.ConnectionError, valkey.TimeoutError) as error:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise CommandError(f"Valkey does not answer: {reason(error)}") from error
                time.sleep(min(1, left))
            except valkey.ValkeyError as error:
                raise CommandError(f"Valkey can't change the password: {reason(error)}") from error
            else:
                break
        self.stdout.write("The password was changed from an earlier one." if changed else "The password is Valkey's.")
