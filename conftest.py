"""What every test may use. PostgreSQL and Redis come from the plug-in `fraudsite.dev.pytest_services`."""

import shutil
from collections.abc import Iterator

import pytest
from django.conf import settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from redis import Redis

hypothesis_settings.register_profile(
    "fraudsite",
    # On a shared machine the clock says nothing about the code.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
hypothesis_settings.load_profile("fraudsite")


@pytest.fixture
def redis_client() -> Iterator[Redis]:
    """This worker's own Redis, emptied: no other test runs on it at the same time."""
    with Redis.from_url(settings.REDIS_URL) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The system's browser; tests that need one are skipped, by name, where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path is not None:
            return path
    pytest.skip("no Chromium on this machine (apt-get install chromium)")
