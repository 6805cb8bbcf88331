"""Quotes that are not published yet.

Those that are there count as published; those that the version before adds, while it still runs, do not.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("quotes", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="quote",
            name="published",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.AlterField(
            model_name="quote",
            name="published",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddIndex(
            model_name="quote",
            index=models.Index(
                condition=models.Q(("published", False)), fields=["id"], name="quotes_quote_unpublished"
            ),
        ),
    ]
