"""The WSGI application; gunicorn.conf.py names it."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from business_logic import telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "business_logic.settings")

# The worker imports this after the fork (gunicorn.conf.py preloads nothing).
application = get_wsgi_application()
telemetry.start("business-logic")
