from collections.abc import Iterator

import pytest

from fraudsite.api.authentication import forget_keys
from tests.clients import ApiClient


@pytest.fixture(autouse=True)
def _no_remembered_keys() -> Iterator[None]:
    forget_keys()
    yield
    forget_keys()


@pytest.fixture
def api(db: None) -> ApiClient:
    """A client with every scope."""
    return ApiClient()
