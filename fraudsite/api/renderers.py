"""Answers as JSON by orjson, exact decimals included."""

from __future__ import annotations

from typing import Any

from rest_framework.renderers import BaseRenderer

from fraudsite.exact_json import to_json

__all__ = ["OrjsonRenderer", "to_json"]


class OrjsonRenderer(BaseRenderer):
    """A Decimal becomes a JSON number with all its digits. Amounts are answered as strings because the
    selectors that build the answers make them strings (`amount_text`), not by their type."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: dict[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else to_json(data)
