"""Django's settings. What may differ between installations comes from `environment`."""

from __future__ import annotations

import os

from business_logic import environment, logs

CONFIGURATION = environment.read(os.environ)

DEBUG = False
SECRET_KEY = CONFIGURATION.secret_key
ALLOWED_HOSTS = list(CONFIGURATION.allowed_hosts)
ROOT_URLCONF = "business_logic.urls"
WSGI_APPLICATION = "business_logic.wsgi.application"

INSTALLED_APPS = ["quotes"]
# The first is the outermost: it sees the answer as the client does.
MIDDLEWARE = [
    "business_logic.middleware.RequestRecord",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "business_logic.middleware.Problems",
]

DATABASES = {"default": CONFIGURATION.database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# TLS ends at the gateway, which also sends Strict-Transport-Security.
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "no-referrer"
X_FRAME_OPTIONS = "DENY"

# Bytes of a request's body; the largest valid quote has some 200.
REQUEST_BODY_LIMIT = 16 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = REQUEST_BODY_LIMIT

# Both for worker.Worker, in seconds.
CLIENT_TIMEOUT = CONFIGURATION.client_timeout
DRAIN_SECONDS = CONFIGURATION.drain_seconds

# Where quotes are published, and how many events are kept there; None: nowhere.
VALKEY = CONFIGURATION.valkey
STREAM_LENGTH = CONFIGURATION.stream_length
# Streams at a time, and seconds between signs of life on each.
STREAM_LIMIT = CONFIGURATION.stream_limit
STREAM_HEARTBEAT = CONFIGURATION.stream_heartbeat
# Answers at this path don't end: worker.Worker gives each a thread of its own.
STREAM_PATH = "/api/quotes/events/stream/"

LOG_PROBES = CONFIGURATION.log_probes
LOGGING = logs.configuration(CONFIGURATION.log_level)

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
