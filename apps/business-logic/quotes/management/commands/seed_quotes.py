"""Put the demonstration quotes in."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from quotes import demonstration
from quotes.models import Quote


class Command(BaseCommand):
    help = "Adds the demonstration quotes that are not there yet; never changes or removes a quote."

    def handle(self, *args: Any, **options: Any) -> None:
        quotes = demonstration.quotes()
        with transaction.atomic():
            before = Quote.objects.count()
            Quote.objects.bulk_create(quotes, ignore_conflicts=True)
            added = Quote.objects.count() - before
        self.stdout.write(f"{added} quotes added, {len(quotes) - added} were there already.")
