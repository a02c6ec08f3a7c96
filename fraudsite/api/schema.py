"""What drf-spectacular cannot see by itself: how clients authenticate, and that every error is a problem document."""

from __future__ import annotations

from typing import Any, Literal

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers

from fraudsite.api.permissions import required_scopes

Direction = Literal["request", "response"]


def example(name: str, value: Any) -> OpenApiExample:
    """A body that is taken as it stands (tests/api/test_schema_examples.py sends each)."""
    return OpenApiExample(name, value=value, request_only=True)


class ProblemErrorSerializer(serializers.Serializer[Any]):
    path = serializers.CharField(help_text="Where in the body, e.g. `conditions[0].value`; `$` is all of it.")
    message = serializers.CharField()


class RejectionSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField(min_value=0, help_text="place in what was sent, from 0")
    errors = ProblemErrorSerializer(many=True)


class ProblemSerializer(serializers.Serializer[Any]):
    """RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = ProblemErrorSerializer(many=True)


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = "fraudsite.api.authentication.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Authorization: Api-Key <key>`: the value begins with the word Api-Key and a blank.",
        }


class AdminSessionScheme(OpenApiAuthenticationExtension):
    target_class = "fraudsite.api.authentication.AdminSessionAuthentication"
    name = "AdminSession"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "Staff, for reading only.",
        }


class ApiSchema(AutoSchema):
    """Adds the errors that any endpoint may answer, and names the scopes an operation needs."""

    def get_description(self) -> str:
        text = super().get_description() or ""
        scopes = required_scopes(self.view, self.method)
        return f"{text}\n\nNeeds the scope {' or '.join(f'`{scope}`' for scope in scopes)}.".strip()

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        problem = self.resolve_serializer(ProblemSerializer, direction)
        if problem.ref:
            content = {"application/problem+json": {"schema": problem.ref}}
            bodies.setdefault("default", {"description": "A problem document.", "content": content})
            for status, body in bodies.items():
                if status.startswith(("4", "5")):
                    body["content"] = content
        return bodies
