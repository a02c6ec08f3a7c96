"""What rule results can be narrowed down by: those of real time and of batches, which are no table."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request

from fraudsite.api.serializers import PAGING, check_query_parameters, ordering_asked
from fraudsite.api.whole_numbers import whole_number
from fraudsite.errors import FieldError, Invalid
from screening.decisions import STATUS_LETTERS
from screening.models import ScreeningType

# By when their decision, or their batch, was made.
RESULTS_ORDERING = ("created_at",)


def results_wanted(request: Request, *, of_any_type: bool = False) -> dict[str, Any]:
    """`transaction_id`, `rule_id`, `status` and (`of_any_type`) `screening_type`, None where not given, and then
    `oldest_first` too. Or Invalid."""
    choices: dict[str, list[str]] = {"status": [*STATUS_LETTERS]}
    if of_any_type:
        choices["screening_type"] = ScreeningType.values
    paging = PAGING if of_any_type else PAGING - {"ordering"}
    check_query_parameters(request, paging | {"transaction_id", "rule_id", *choices})
    # An empty filter is none, as of lists that django-filter reads.
    given = {name: text for name, text in request.query_params.items() if text}
    errors = [
        FieldError(name, f"must be one of {', '.join(allowed)}")
        for name, allowed in choices.items()
        if name in given and given[name] not in allowed
    ]
    rule_id = whole_number(given["rule_id"]) if "rule_id" in given else None
    if "rule_id" in given and rule_id is None:
        errors.append(FieldError("rule_id", "must be a whole number"))
    ordering = ordering_asked(request, RESULTS_ORDERING) if of_any_type else []
    if ordering and "screening_type" not in given:
        message = "needs a screening_type: results of real time and of batches are lists of their own"
        errors.append(FieldError("ordering", message))
    if errors:
        raise Invalid("A query parameter is not valid.", errors)
    return {
        "transaction_id": given.get("transaction_id"),
        "rule_id": rule_id,
        **{name: given.get(name) for name in choices},
        **({"oldest_first": bool(ordering) and not ordering[0][1]} if of_any_type else {}),
    }
