"""The base of the API's views."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

from django.http import UnreadablePostError
from django.utils.http import parse_header_parameters
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fraudsite.api.authentication import AdminSessionAuthentication, ApiKeyAuthentication
from fraudsite.api.pagination import PagePagination
from fraudsite.api.parsers import drain
from fraudsite.api.permissions import HasScope
from fraudsite.api.problems import LengthRequired, UnreadEncoding
from fraudsite.api.renderers import QuickNegotiation
from fraudsite.api.schema import ApiSchema
from fraudsite.api.serializers import (
    StrictFilterBackend,
    StrictOrderingFilter,
    check_not_repeated,
    check_query_parameters,
)
from fraudsite.api.throttling import ClientThrottle, GlobalThrottle
from fraudsite.errors import FieldError, Invalid, Missing

UTF8 = ("utf-8", "utf8", "us-ascii")
# By view: `Allow` depends on nothing but the methods it has.
_response_headers: dict[type, dict[str, str]] = {}


class ApiView(APIView):
    """Keys or the admin's session, scopes by `required_scopes`, limits, problem documents."""

    authentication_classes = (ApiKeyAuthentication, AdminSessionAuthentication)
    permission_classes = (HasScope,)
    throttle_classes = (GlobalThrottle, ClientThrottle)
    content_negotiation_class = QuickNegotiation
    schema = ApiSchema()
    required_scopes: dict[str, Any] = {}
    # Methods whose query parameters the view reads and checks itself; the others have none.
    reads_query: tuple[str, ...] = ()
    repeatable_parameters: frozenset[str] = frozenset()

    # Views have many requests, these have nothing to remember between them: one of each class serves all.

    def get_authenticators(self) -> Any:
        return _one_of_each(tuple(self.authentication_classes))

    def get_permissions(self) -> Any:
        return _one_of_each(tuple(self.permission_classes))

    def get_throttles(self) -> Any:
        return _one_of_each(tuple(self.throttle_classes))

    def get_parsers(self) -> Any:
        return _one_of_each(tuple(self.parser_classes))

    def get_renderers(self) -> Any:
        return _one_of_each(tuple(self.renderer_classes))

    @property
    def default_response_headers(self) -> dict[str, str]:
        known = _response_headers.get(type(self))
        if known is None:
            # What is answered is of persons: no cache of a browser or on the way keeps it.
            own = {"Cache-Control": "no-store"}
            known = _response_headers[type(self)] = super().default_response_headers | own
        return dict(known)

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What may be done here; the schema says the rest. (Preflights of browsers never come this far.)"""
        return Response(status=204)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """What was answered without a look at the body (there is no such thing, no such media type) is read to its
        end too. Not for strangers: they may have their connection broken."""
        incoming = getattr(request, "_request", request)
        if response.status_code not in (401, 429) and not getattr(incoming, "_read_started", True):
            with suppress(UnreadablePostError):
                drain(incoming)
        return super().finalize_response(request, response, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        meta = request.META
        # PostgreSQL has no NUL in text: nothing has such a name, and nothing can be compared with it.
        if any("\0" in value for value in kwargs.values() if isinstance(value, str)):
            raise Missing("There is nothing at this address.")
        if meta.get("QUERY_STRING"):
            self._check_query(request)
        if "HTTP_CONTENT_ENCODING" in meta or "charset" in meta.get("CONTENT_TYPE", ""):
            _check_encoding(meta)
        # Django reads as many bytes as Content-Length says: a body without one would silently be no body.
        if "HTTP_TRANSFER_ENCODING" in meta and not meta.get("CONTENT_LENGTH"):
            raise LengthRequired

    def _check_query(self, request: Request) -> None:
        if "%00" in request.META["QUERY_STRING"]:
            raise Invalid("The query holds a NUL character.", [FieldError("$", "holds a NUL character")])
        # One of two values would be silently ignored.
        check_not_repeated(request, self.repeatable_parameters)
        method = "GET" if request.method == "HEAD" else request.method
        if method not in self.reads_query:
            check_query_parameters(request, {"format"})


def _check_encoding(meta: dict[str, Any]) -> None:
    """What says that it is encoded otherwise than bodies are read here would be misread."""
    charset = parse_header_parameters(meta.get("CONTENT_TYPE", ""))[1].get("charset", "utf-8")
    if meta.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity" or charset.lower() not in UTF8:
        raise UnreadEncoding


@cache
def _one_of_each(classes: tuple[type, ...]) -> list[Any]:
    return [each() for each in classes]


class ApiListView(ApiView, GenericAPIView[Any]):
    """Pages of `get_queryset()`, filtered and ordered; `bodies` says what an item looks like."""

    reads_query: tuple[str, ...] = ("GET",)
    pagination_class = PagePagination
    filter_backends = (StrictFilterBackend, StrictOrderingFilter)

    def bodies(self, items: list[Any]) -> list[dict[str, Any]]:
        raise NotImplementedError

    def page(self, request: Request) -> Response:
        items = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.bodies(list(items or ())))
