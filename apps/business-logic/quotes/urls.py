"""Routes below /api/quotes/."""

from __future__ import annotations

from django.urls import path

from business_logic.http import Endpoint
from quotes import views

urlpatterns = [
    path("", Endpoint(GET=views.list_quotes, POST=views.add_quote), name="quotes"),
    path("events/recent/", Endpoint(GET=views.list_events), name="events"),
    # settings.STREAM_PATH
    path("events/stream/", Endpoint(GET=views.stream_events), name="stream"),
    path("<str:symbol>/", Endpoint(GET=views.show_symbol), name="symbol"),
]
