"""Every error of the API as an RFC 9457 problem document: `type title status detail errors[{path, message}]`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from django.core.exceptions import (
    DisallowedHost,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFilesSent,
)
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response

from fraudsite.errors import (
    Busy,
    Conflict,
    DomainError,
    FieldError,
    Gone,
    Invalid,
    Missing,
    Overloaded,
    Refused,
    TooLarge,
    Unprocessable,
    errors_body,
)
from fraudsite.json_body import JsonBodyError
from fraudsite.postgresql.deadlines import NoAnswer

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
# A backlog takes longer to shrink than a server to come back.
RETRY_AFTER_OVERLOAD_S = 5
API_PATH = "/api/"

log = structlog.get_logger(__name__)

_DOMAIN_STATUS: dict[type[DomainError], int] = {
    Invalid: 400,
    TooLarge: 413,
    Unprocessable: 422,
    Conflict: 409,
    Refused: 403,
    Missing: 404,
    Gone: 410,
}


class PayloadTooLarge(exceptions.APIException):
    status_code = 413
    default_detail = "The body is too large."
    default_code = "payload_too_large"


class UnreadEncoding(exceptions.APIException):
    status_code = 415
    default_detail = "Send the body uncompressed (without Content-Encoding) and, if it is text, in UTF-8."
    default_code = "unsupported_media_type"


class LengthRequired(exceptions.APIException):
    status_code = 411
    default_detail = "Send the body with a Content-Length, not in chunks."
    default_code = "length_required"


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER. None (a fault of ours) lets Django log it and call `server_error`."""
    described = _describe(error)
    if described is None:
        return None
    status, detail, errors, headers = described
    response = Response(problem(status, detail, errors), status=status, headers=headers)
    response.content_type = CONTENT_TYPE
    return response


def problem(status: int, detail: str, errors: Iterable[FieldError] = ()) -> dict[str, Any]:
    """The document. `type` is about:blank: the status says all there is to the kind of problem (RFC 9457, 4.2.1)."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "errors": errors_body(errors),
    }


def problem_response(status: int, detail: str, headers: dict[str, str] | None = None) -> HttpResponse:
    """The same for code outside DRF's views: error views, middleware."""
    return HttpResponse(
        orjson.dumps(problem(status, detail)), status=status, content_type=CONTENT_TYPE, headers=headers
    )


_Described = tuple[int, str, list[FieldError], dict[str, str]]


def _describe(error: Exception) -> _Described | None:
    match error:
        case Busy():
            return 503, error.detail, [], {"Retry-After": str(RETRY_AFTER_S)}
        case Overloaded():
            return 429, error.detail, [], {"Retry-After": str(RETRY_AFTER_OVERLOAD_S)}
        case DomainError():
            return _DOMAIN_STATUS.get(type(error), 400), error.detail, list(error.errors), {}
        case JsonBodyError():
            return 400, f"The body cannot be read: {error}.", [FieldError(error.path, error.message)], {}
        case exceptions.ValidationError():
            return 400, "The input is not valid.", list(field_errors(error.detail)), {}
        case exceptions.APIException():
            return error.status_code, _detail_text(error), [], _headers(error)
        case Http404():
            return 404, str(error) or "There is nothing at this address.", [], {}
        case PermissionDenied():
            return 403, str(error) or "This is not allowed.", [], {}
        case RequestDataTooBig() | TooManyFilesSent():
            return 413, "The body is too large.", [], {}
        case SuspiciousOperation() | UnreadablePostError():
            return 400, "The request cannot be read.", [], {}
        case DataError():
            # A last resort: values are checked where they come in, and this one was not.
            log.warning("value_out_of_range", error=str(error).strip())
            return 400, "A value is out of the range that can be stored or compared.", [], {}
        case OperationalError() | InterfaceError():
            log.warning("database_unavailable", error=str(error).strip())
            # A commit that we did not wait for to the end may have come to one.
            what = "did not answer in time; what was sent may be stored or not. Look, or try again."
            if not isinstance(error.__cause__, NoAnswer):
                what = "cannot be used right now; nothing was stored. Try again."
            detail = f"The database {what}"
            return 503, detail, [], {"Retry-After": str(RETRY_AFTER_S)}
    return None


def _detail_text(error: exceptions.APIException) -> str:
    detail = error.detail
    return (
        str(detail) if isinstance(detail, str) else "; ".join(each.message for each in field_errors(detail))
    )


def _headers(error: exceptions.APIException) -> dict[str, str]:
    headers = {}
    if header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = header
    if isinstance(error, exceptions.Throttled):
        headers["Retry-After"] = str(max(1, round(error.wait or 1)))
    return headers


def field_errors(detail: Any, path: str = "") -> Iterator[FieldError]:
    """DRF's nested dicts and lists of errors, one by one with a path like `entries[2].value`."""
    if isinstance(detail, dict):
        for key, inner in detail.items():
            yield from field_errors(inner, _child(path, key))
    elif isinstance(detail, list | tuple):
        is_texts = all(isinstance(each, str) for each in detail)
        for index, inner in enumerate(detail):
            yield from field_errors(inner, path if is_texts else _child(path, index))
    else:
        yield FieldError(path[:300] or "$", str(detail))


def _child(path: str, key: object) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    if key == "non_field_errors":
        return path
    return f"{path}.{key}" if path else str(key)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: a wrong Host header, a body that breaks off."""
    if isinstance(exception, DisallowedHost):
        # Whoever asks by a name of their own (a machine's, a forwarded port's) can mend it, if told.
        detail = "The server does not answer to this host name: it is not among ALLOWED_HOSTS."
        if request.path.startswith(API_PATH):
            return problem_response(400, detail)
        return HttpResponse(detail, status=400, content_type="text/plain; charset=utf-8")
    if request.path.startswith(API_PATH):
        return problem_response(400, "The request cannot be read.")
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    if request.path.startswith(API_PATH):
        return problem_response(403, "This is not allowed.")
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    if request.path.startswith(API_PATH):
        return problem_response(404, "There is nothing at this address.")
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: nothing of the fault is told to the client, it is in the log."""
    if request.path.startswith(API_PATH):
        return problem_response(500, "Something went wrong on our side; it was logged.")
    return defaults.server_error(request)
