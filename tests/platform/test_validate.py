"""`make validate` on a platform where people work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from fraudsite.dev import looking
from fraudsite.dev.looking import Api
from ingestion.models import Transaction
from rules.models import RuleVersion
from rules.pack.selectors import entries_in_use
from rules.services import rule_create
from screening.counting import fence, store
from screening.engine import engines
from screening.models import Alert, Decision, RiskSignal
from tests.clients import ApiClient

pytestmark = pytest.mark.django_db


class OurApi:
    """`looking.Api` of the platform that the tests are in."""

    def __init__(self) -> None:
        self._client = ApiClient()

    def request(self, path: str, body: Any = None) -> tuple[int, Any]:
        response = self._client.get(path) if body is None else self._client.post(path, body)
        return response.status_code, response.json()


@pytest.fixture(autouse=True)
def _whole_pack(db: None) -> Iterator[None]:
    store.forget_everything()
    engines.forget()
    fence.forget()
    for entry in entries_in_use():
        rule_create(document=entry.document, principal="system:tests", pack_key=entry.key)
    yield
    engines.forget()
    fence.forget()


def test_it_says_while_every_rule_waits_for_approval() -> None:
    api = cast(Api, OurApi())
    assert looking.CHECKS["rules in force"](api) is None
    RuleVersion.objects.update(state=RuleVersion.State.PENDING_APPROVAL)
    assert "every payment is approved" in str(looking.CHECKS["rules in force"](api))
    assert api.request(looking.COUNTED["rules in force"])[1]["total"] == 0


def test_its_payments_share_nothing_and_raise_nothing_however_often_it_is_run() -> None:
    api = cast(Api, OurApi())
    for _ in range(6):
        assert looking.CHECKS["a transaction is screened, replayed, protected"](api) is None
    assert set(Decision.objects.values_list("outcome", flat=True)) == {"approve"}
    assert not Alert.objects.exists()
    assert not RiskSignal.objects.exists()
    left = Transaction.objects.all()
    assert len({each.account_id for each in left}) == len({each.user_id for each in left}) == 6
    assert all(each.transaction_id.startswith("validate-") for each in left)
