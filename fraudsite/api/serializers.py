"""What serializers and filters of every app share: nothing that was sent is silently ignored."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django_filters.fields import IsoDateTimeField
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema_field
from rest_framework import serializers
from rest_framework.filters import OrderingFilter
from rest_framework.request import Request

from fraudsite.errors import FieldError, Invalid

UNKNOWN_KEYS_TOLD = 20
PAGING = frozenset({"page", "page_size", "ordering", "format"})


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses keys it does not know, and bodies that are no object."""

    def get_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().get_fields()
        for field in fields.values():
            _tell_choices(getattr(field, "child", field))
        return fields

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            writable = {name for name, field in self.fields.items() if not field.read_only}
            if unknown := [key for key in data if key not in writable]:
                raise serializers.ValidationError(_unknown_keys(unknown))
        return super().to_internal_value(data)


def _tell_choices(field: Any) -> None:
    """Of DRF's and of Django's fields alike: "x is not a valid choice" alone has its reader look for the choices."""
    # A choice of rows is a forms.ChoiceField too, and telling them would be a query.
    if isinstance(field, serializers.ChoiceField | forms.ChoiceField) and not isinstance(
        field, forms.ModelChoiceField
    ):
        choices = ", ".join(str(value) for value in dict(field.choices) if value != "")
        field.error_messages = {**field.error_messages, "invalid_choice": f"must be one of {choices}"}


def _unknown_keys(unknown: list[str]) -> dict[str, list[str]]:
    """A megabyte of them would take seconds to tell, and nobody would read it."""
    errors = {key: ["is not a known field"] for key in unknown[:UNKNOWN_KEYS_TOLD]}
    if len(unknown) > UNKNOWN_KEYS_TOLD:
        errors["non_field_errors"] = [
            f"has {len(unknown) - UNKNOWN_KEYS_TOLD} more fields that are not known"
        ]
    return errors


class StrictFilterBackend(DjangoFilterBackend):
    """A misspelled filter must not answer with everything: query parameters nobody reads are refused."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        filterset_class = self.get_filterset_class(view, queryset)
        known = PAGING | set(filterset_class.base_filters if filterset_class else ())
        known |= set(getattr(view, "extra_query_parameters", ()))
        check_query_parameters(request, known)
        return super().filter_queryset(request, queryset, view)

    def get_filterset(self, request: Request, queryset: QuerySet[Any], view: Any) -> Any:
        filterset = super().get_filterset(request, queryset, view)
        if filterset is None:
            return None
        for field in filterset.form.fields.values():
            _tell_choices(field)
        if filterset.is_valid():
            _check_ranges(filterset.form.cleaned_data)
        return filterset


def _check_ranges(given: Mapping[str, Any]) -> None:
    """A range inside out holds nothing: it is a mistake, and "nothing" would be taken for an answer."""
    for end_name in (name for name in given if name.endswith("_to")):
        start_name = f"{end_name.removesuffix('_to')}_from"
        start, end = given.get(start_name), given[end_name]
        if start is not None and end is not None and start > end:
            raise Invalid(
                "A query parameter is not valid.", [FieldError(end_name, f"is before {start_name}")]
            )


class StrictOrderingFilter(OrderingFilter):
    """`?ordering=-priority,name`; a field that cannot be ordered by is refused, not ignored."""

    def remove_invalid_fields(
        self, queryset: QuerySet[Any], fields: list[str], view: Any, request: Request
    ) -> list[str]:
        """The fields as the database knows them: `ordering_fields` may be a dict {name: column}."""
        valid = [name for name, _ in self.get_valid_fields(queryset, view, {"request": request})]
        columns = view.ordering_fields if isinstance(view.ordering_fields, dict) else {}
        chosen = []
        for field in fields:
            name, is_descending = _ordering_field(field, valid)
            chosen.append("-" * is_descending + columns.get(name, name))
        return chosen

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> Any:
        """With the primary key as the last word, or rows that tie could be on two pages or on none."""
        ordering = super().get_ordering(request, queryset, view)
        if ordering and not {"pk", "-pk", "id", "-id"} & set(ordering):
            return [*ordering, "pk"]
        return ordering


def ordering_asked(request: Request, valid: Collection[str]) -> list[tuple[str, bool]]:
    """`?ordering=-priority,name` for what is no queryset: each field, and whether it is descending. Raises Invalid."""
    text = request.query_params.get("ordering")
    return [_ordering_field(field.strip(), valid) for field in text.split(",")] if text else []


def ordering_parameter(valid: Collection[str]) -> OpenApiParameter:
    return OpenApiParameter(
        "ordering", str, description=f"By {', '.join(valid)}; `-` before one turns it round."
    )


def _ordering_field(field: str, valid: Collection[str]) -> tuple[str, bool]:
    name = field.removeprefix("-")
    if name not in valid:
        message = f"{field[:60]!r} is none of {', '.join(valid)}"
        raise Invalid("A query parameter is not valid.", [FieldError("ordering", message)])
    return name, name != field


def check_query_parameters(request: Request, known: set[str] | frozenset[str]) -> None:
    """Refuse what nobody reads: a misspelled parameter must not be a different question."""
    errors = [
        FieldError(name[:100], f"is not a query parameter here; those are {', '.join(sorted(known))}")
        for name in request.query_params
        if name not in known
    ]
    if errors:
        raise Invalid("A query parameter is not valid.", errors)


def check_not_repeated(request: Request, repeatable: frozenset[str]) -> None:
    errors = [
        FieldError(name[:100], "is given more than once")
        for name, values in request.query_params.lists()
        if len(values) > 1 and name not in repeatable
    ]
    if errors:
        raise Invalid("A query parameter is not valid.", errors)


def check_no_body(request: Request) -> None:
    """For actions that need none: what was sent nevertheless is readable, and says nothing."""
    body = request.data
    if body is None or body == {}:
        return
    names = list(body) if isinstance(body, dict) else ["$"]
    raise Invalid(
        "This request takes no body.", [FieldError(name[:100], "is not a known field") for name in names]
    )


def true_or_false(text: str) -> bool | None:
    """What `true`, `false`, `1` or `0` says, written as Python writes it (`True`) too; None for another word."""
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower())


class _TrueFalseField(forms.CharField):
    def clean(self, value: Any) -> bool | None:
        text = super().clean(value)
        found = true_or_false(text)
        if text and found is None:
            raise ValidationError("must be true or false")
        return found


@extend_schema_field(OpenApiTypes.BOOL)
class TrueFalseFilter(django_filters.Filter):
    """`?is_active=true`. The usual BooleanFilter takes a word it does not know for no filter at all."""

    field_class = _TrueFalseField


class _UtcField(IsoDateTimeField):
    def clean(self, value: Any) -> Any:
        moment = super().clean(value)
        try:
            return moment.astimezone(UTC) if moment else moment
        except OverflowError:
            raise ValidationError("is out of range") from None


class InstantFilter(django_filters.IsoDateTimeFilter):
    """A time in ISO 8601 (UTC where it names no zone). PostgreSQL knows fewer offsets than ISO 8601 allows."""

    field_class = _UtcField


class _EndField(_UtcField):
    def clean(self, value: Any) -> Any:
        moment = super().clean(value)
        if not moment or not isinstance(value, str) or not _DAY.fullmatch(value.strip()):
            return moment
        try:
            return moment + timedelta(days=1)
        except OverflowError:
            return datetime.max.replace(tzinfo=UTC)


_DAY = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")


class EndFilter(InstantFilter):
    """The end of a range, not included. A day is in it as a whole: `date_from` and `date_to` may be the same day."""

    field_class = _EndField

    def __init__(self, **options: Any) -> None:
        super().__init__(lookup_expr="lt", **options)
