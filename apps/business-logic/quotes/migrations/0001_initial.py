"""The first tables."""

from __future__ import annotations

from decimal import Decimal

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Quote",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("symbol", models.CharField(max_length=12)),
                ("price", models.DecimalField(decimal_places=4, max_digits=14)),
                ("currency", models.CharField(default="USD", max_length=3)),
                ("quoted_at", models.DateTimeField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ("-quoted_at", "symbol"),
                "indexes": [models.Index(fields=["-quoted_at", "symbol"], name="quotes_quote_newest")],
                "constraints": [
                    models.UniqueConstraint(fields=("symbol", "quoted_at"), name="quotes_quote_symbol_quoted_at"),
                    models.CheckConstraint(
                        condition=models.Q(("price__gt", Decimal("0")), ("price__lt", Decimal("10000000000"))),
                        name="quotes_quote_price_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("symbol__regex", "^[A-Z0-9][A-Z0-9.-]{0,11}$")), name="quotes_quote_symbol"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("currency__regex", "^[A-Z]{3}$")), name="quotes_quote_currency"
                    ),
                ],
            },
        ),
    ]
