"""`Idempotency-Key`: a POST that makes something new makes it once, however often the client sends it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.errors import FieldError, Invalid
from fraudsite.exact_json import from_json, to_json
from fraudsite.idempotency import Answer, answered_once

HEADER = "Idempotency-Key"
LONGEST_KEY = 128
_PARAMETER = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    description="Sent again with the same key and body within 24 hours, the request is answered as it was and "
    "nothing is done again; the answer has `Idempotent-Replayed: true`.",
)


def once_a_key(post: Callable[..., Response]) -> Callable[..., Response]:
    """For `post` methods of views that commit nothing by themselves and do nothing outside the database but on
    commit. Their answers are JSON."""

    @wraps(post)
    def post_once(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return post(view, request, *args, **kwargs)
        if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
            raise Invalid(
                f"The {HEADER} is not valid.", [FieldError(HEADER, f"expected 1–{LONGEST_KEY} characters")]
            )
        asked = to_json([request.get_full_path(), request.data])

        def make() -> Answer:
            response = post(view, request, *args, **kwargs)
            return Answer(response.status_code, to_json(response.data).decode())

        answer, is_replay = answered_once(
            make, principal=request.principal, key=key, digest=hashlib.sha256(asked).digest()
        )
        headers = {"Idempotent-Replayed": "true"} if is_replay else {}
        return Response(from_json(answer.body), status=answer.status, headers=headers)

    return extend_schema(parameters=[_PARAMETER])(post_once)
