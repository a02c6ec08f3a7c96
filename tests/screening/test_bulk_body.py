"""How many transactions one body may hold: more are refused, none are left out."""

from __future__ import annotations

import json

import pytest

from fraudsite.errors import Invalid
from screening.bulk_body import bulk_documents


def body(n: int, *, is_ndjson: bool) -> bytes:
    documents = [json.dumps({"transaction_id": f"T{number}"}) for number in range(n)]
    return ("\n".join(documents) if is_ndjson else f"[{','.join(documents)}]").encode()


@pytest.mark.parametrize("is_ndjson", [False, True])
def test_it_takes_as_many_as_may_be_and_refuses_one_more(is_ndjson: bool) -> None:
    taken = bulk_documents(body(3, is_ndjson=is_ndjson), is_ndjson=is_ndjson, limit=3)
    assert [document["transaction_id"] for document, _ in taken] == ["T0", "T1", "T2"]
    with pytest.raises(Invalid) as refused:
        bulk_documents(body(4, is_ndjson=is_ndjson), is_ndjson=is_ndjson, limit=3)
    assert [each.message for each in refused.value.errors] == ["has more than 3 items"]
