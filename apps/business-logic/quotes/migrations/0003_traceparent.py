"""The request that stored a quote, known until it is published: the relay goes on with its trace.

The version before knows nothing of the column; the database's default is for it.
"""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("quotes", "0002_published")]

    operations = [
        migrations.AddField(
            model_name="quote",
            name="traceparent",
            field=models.CharField(db_default="", default="", max_length=55),
        ),
    ]
