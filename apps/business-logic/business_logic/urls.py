"""Routes of the service."""

from __future__ import annotations

from django.urls import include, path

from business_logic import health, metrics, openapi
from business_logic.http import Endpoint

urlpatterns = [
    path("api/quotes/", include("quotes.urls")),
    path("api/openapi.json", Endpoint(GET=openapi.serve), name="openapi"),
    path("livez", Endpoint(GET=health.livez), name="livez"),
    path("readyz", Endpoint(GET=health.readyz), name="readyz"),
    path("metrics", Endpoint(GET=metrics.expose), name="metrics"),
]

handler400 = "business_logic.problems.bad_request"
handler403 = "business_logic.problems.forbidden"
handler404 = "business_logic.problems.not_found"
handler500 = "business_logic.problems.server_error"
