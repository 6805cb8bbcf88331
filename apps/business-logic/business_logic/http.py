"""Conventions of the HTTP interface: methods of an endpoint, JSON bodies, query parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, NoReturn

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse, UnreadablePostError

from business_logic import telemetry
from business_logic.problems import Problem


class Stream(StreamingHttpResponse):
    """An answer that goes on; `at_end` is called, once, when the server is done with it, however that came."""

    def __init__(self, parts: Iterable[bytes], **arguments: Any) -> None:
        super().__init__(parts, **arguments)
        self.at_end: list[Callable[[], Any]] = []

    def close(self) -> None:
        super().close()
        while self.at_end:
            self.at_end.pop()()


View = Callable[..., HttpResponse | Stream]


class Endpoint:
    """A view that knows its methods. HEAD comes with GET, OPTIONS always."""

    csrf_exempt = True  # no cookie or session is ever looked at

    def __init__(self, **views: View) -> None:
        self._views = views

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(sorted({*self._views, "OPTIONS"} | ({"HEAD"} if "GET" in self._views else set())))

    def __call__(self, request: HttpRequest, **arguments: str) -> HttpResponse | Stream:
        method = "GET" if request.method == "HEAD" else str(request.method)
        allow = ", ".join(self.methods)
        if method in self._views:
            telemetry.answered_by(self._views[method])
            return self._views[method](request, **arguments)
        if method == "OPTIONS":
            return HttpResponse(status=HTTPStatus.NO_CONTENT, headers={"Allow": allow})
        detail = f"{method[:32]} is not possible here, only {allow}."
        raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"Allow": allow})


class JsonNumber(str):
    """A number as it stood in the JSON text: nothing is lost to floating point."""

    __slots__ = ()


def _refuse_constant(name: str) -> NoReturn:
    raise Problem("malformed-body", f"{name} is not a number in JSON.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for name, value in pairs:
        if name in members:
            errors[name] = ["is given more than once"]
        members[name] = value
    if errors:
        raise Problem("malformed-body", "An object has a member more than once.", errors=errors)
    return members


def _check_media_type(request: HttpRequest) -> None:
    if request.content_type != "application/json":
        given = f'is "{request.content_type[:80]}"' if request.content_type else "is missing"
        detail = f"The header Content-Type {given}, expected application/json."
    elif str((request.content_params or {}).get("charset", "utf-8")).lower() not in ("utf-8", "utf8"):
        detail = "The body's charset must be UTF-8."
    elif request.headers.get("Content-Encoding", "identity").lower() != "identity":
        detail = "The body must not be encoded (compressed)."
    else:
        return
    raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, headers={"Accept": "application/json"})


def _read_body(request: HttpRequest) -> bytes:
    limit: int = settings.REQUEST_BODY_LIMIT
    too_large = Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body may have at most {limit} bytes.")
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal():
        raise Problem(HTTPStatus.BAD_REQUEST, "The header Content-Length is not a number.")
    if int(length) > limit:
        raise too_large
    try:
        # Django reads as much as Content-Length says: nothing of a body in chunks, whose end the server finds.
        if "HTTP_TRANSFER_ENCODING" in request.META and request.META.get("wsgi.input_terminated"):
            body: bytes = request.META["wsgi.input"].read(limit + 1)
        else:
            body = request.body
    except (OSError, UnreadablePostError) as error:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "The body did not arrive in time.") from error
    except Exception as error:  # the server's own, such as gunicorn's InvalidChunkSize
        raise Problem("malformed-body", "The body's transfer encoding is broken.") from error
    if len(body) > limit:
        raise too_large
    return body


def read_json(request: HttpRequest) -> Any:
    """The body as Python objects, numbers as JsonNumber; raises Problem where it is no strict JSON."""
    _check_media_type(request)
    body = _read_body(request)
    if not body:
        raise Problem("malformed-body", "The body is empty.")
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_float=JsonNumber,
            parse_int=JsonNumber,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError as error:
        raise Problem("malformed-body", f"The body is not UTF-8 (byte {error.start}).") from error
    except json.JSONDecodeError as error:
        detail = f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise Problem("malformed-body", detail) from error
    except RecursionError as error:
        raise Problem("malformed-body", "The body is nested too deeply.") from error


def read_query(request: HttpRequest, *known: str) -> dict[str, str]:
    """The query's parameters; one without a value counts as not given. Raises Problem for unknown and repeated ones."""
    errors: dict[str, list[str]] = {}
    for name, values in request.GET.lists():
        if name not in known:
            errors[name] = [
                f"is not a parameter here; known: {', '.join(known)}" if known else "is not a parameter here"
            ]
        elif len(values) > 1:
            errors[name] = ["is given more than once"]
    if errors:
        raise invalid_parameters(errors)
    return {name: values[0] for name, values in request.GET.lists() if values[0]}


def invalid_parameters(errors: dict[str, list[str]]) -> Problem:
    return Problem("invalid-parameters", _sentence("The query", errors), errors=errors)


def invalid_members(kind: str, subject: str, errors: dict[str, list[str]]) -> Problem:
    return Problem(kind, _sentence(subject, errors), errors=errors)


def _sentence(subject: str, errors: dict[str, list[str]]) -> str:
    names = sorted(errors)
    return f"{subject} has something wrong in: {', '.join(name[:40] for name in names[:10])}."
