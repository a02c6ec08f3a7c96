"""manage.py apikey."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from fraudsite.api.authentication import forget_keys
from fraudsite.models import ApiKey, Scope
from tests.clients import ApiClient, assert_problem

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("apikey", *arguments, stdout=out)
    return out.getvalue().strip()


def test_it_makes_a_key_that_works_until_it_is_revoked() -> None:
    raw = run("create", "a client", "--scope", "read", "--scope", "rules:write")
    key = ApiKey.objects.get()
    assert (key.name, key.scopes) == ("a client", ["read", "rules:write"])
    assert ApiClient(raw_key=raw).get("rules/").status_code == 200
    assert key.prefix in run("list")
    assert raw not in run("list")
    assert "Revoked" in run("revoke", key.prefix)
    forget_keys()
    assert_problem(ApiClient(raw_key=raw).get("rules/"), 401)


def test_it_gives_all_scopes_and_an_end() -> None:
    run("create", "a client", "--all-scopes", "--days", "30")
    key = ApiKey.objects.get()
    assert set(key.scopes) == set(Scope.values)
    assert key.expires_at is not None


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "x"),
        ("create", "x", "--scope", "root"),
        ("create", "", "--all-scopes"),
        ("revoke", "nothing"),
        ("create", "x", "--all-scopes", "--days", "0"),
    ],
)
def test_it_refuses_what_makes_no_sense(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run(*arguments)
    assert not ApiKey.objects.exists()
