"""Errors as application/problem+json (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.http import Http404, HttpRequest, JsonResponse
from django.urls import Resolver404, resolve
from django.utils.encoding import escape_uri_path

from business_logic import logs

# Kind → status, title. The OpenAPI document says more about each under x-problems, where a problem's `type` points.
KINDS: dict[str, tuple[HTTPStatus, str]] = {
    "malformed-body": (HTTPStatus.BAD_REQUEST, "The body is not the JSON that was expected"),
    "invalid-parameters": (HTTPStatus.BAD_REQUEST, "The query has invalid parameters"),
    "invalid-quote": (HTTPStatus.UNPROCESSABLE_ENTITY, "The quote is invalid"),
    "duplicate-quote": (HTTPStatus.CONFLICT, "The quote exists already"),
    "unknown-symbol": (HTTPStatus.NOT_FOUND, "The symbol has no quotes"),
    "database-unavailable": (HTTPStatus.SERVICE_UNAVAILABLE, "The database is unavailable"),
    "events-gone": (HTTPStatus.GONE, "Events after this id are not all there"),
    "events-unavailable": (HTTPStatus.SERVICE_UNAVAILABLE, "Events are unavailable"),
    "too-many-streams": (HTTPStatus.SERVICE_UNAVAILABLE, "There are too many streams"),
    "not-ready": (HTTPStatus.SERVICE_UNAVAILABLE, "The service is not ready"),
}
DOCUMENT = "/api/openapi.json"


class Problem(Exception):
    """An error as the client gets it. `kind` is a key of KINDS or a plain HTTP status."""

    def __init__(
        self,
        kind: str | HTTPStatus,
        detail: str,
        *,
        errors: dict[str, list[str]] | None = None,
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        if isinstance(kind, HTTPStatus):
            self.type, self.status, self.title = "about:blank", kind, kind.phrase
        else:
            self.type = f"{DOCUMENT}#/x-problems/{kind}"
            self.status, self.title = KINDS[kind]
        self.detail = detail
        self.headers = headers or {}
        self.members = {"errors": errors, **members} if errors else members

    def response(self, request: HttpRequest) -> JsonResponse:
        body = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": escape_uri_path(request.path),
            "request_id": logs.request_id.get(),
            **self.members,
        }
        return JsonResponse(body, status=self.status, content_type="application/problem+json", headers=self.headers)


def bad_request(request: HttpRequest, exception: Exception) -> JsonResponse:
    return Problem(HTTPStatus.BAD_REQUEST, "The request can't be understood.").response(request)


def forbidden(request: HttpRequest, exception: Exception) -> JsonResponse:
    return Problem(HTTPStatus.FORBIDDEN, "This is not allowed.").response(request)


def not_found(request: HttpRequest, exception: Http404) -> JsonResponse:
    detail = f"Nothing is at {escape_uri_path(request.path)}."
    try:
        resolve(f"{request.path_info}/")
    except Resolver404:
        pass
    else:
        detail += " Did you mean the same with a slash at the end?"
    return Problem(HTTPStatus.NOT_FOUND, detail).response(request)


def server_error(request: HttpRequest) -> JsonResponse:
    detail = "Something went wrong here. The log has more under the request_id."
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail).response(request)
