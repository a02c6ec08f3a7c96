"""`/api/schema/`: what the API takes and answers, for anybody who asks."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import Any

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request

# drf-spectacular fails in two threads at once.
_making = Lock()


class SchemaView(SpectacularAPIView):
    """Made once in a process: it takes half a second of processor time and is the same for all.

    Its query chooses the format alone: there is one version, in one language.
    """

    def _get_schema_response(self, request: Request) -> HttpResponse:
        renderer = request.accepted_renderer
        return HttpResponse(
            _rendered(type(renderer)),
            content_type=f"{renderer.media_type}; charset=utf-8",
            headers={"Content-Disposition": f'inline; filename="Fraudsite.{renderer.format}"'},
        )


def _rendered(renderer: type[Any]) -> bytes:
    with _making:
        return _made(renderer)  # type: ignore[arg-type]


@cache
def _made(renderer: type[Any]) -> bytes:
    return bytes(renderer().render(SchemaGenerator().get_schema(request=None, public=True), None, {}))
