#!/usr/bin/env python
"""Django's command line: migrate, seed_quotes, wait_for_database and others."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

from business_logic.environment import ConfigurationError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "business_logic.settings")
    # A migration may take longer than a request is allowed to.
    os.environ.setdefault("DATABASE_STATEMENT_TIMEOUT", "0")
    try:
        execute_from_command_line(sys.argv)
    except ConfigurationError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
