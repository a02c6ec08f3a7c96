"""What every test may use. PostgreSQL and Redis come from the plug-in `fraudsite.dev.pytest_services`."""

import shutil
from collections.abc import Iterator
from importlib import import_module

import pytest
from django.conf import settings
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pytest_django.plugin import DjangoDbBlocker, blocking_manager_key
from redis import Redis

from tests.databases import database_close, trail_may_be_emptied

hypothesis_settings.register_profile(
    "fraudsite",
    # On a shared machine the clock says nothing about the code.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
hypothesis_settings.load_profile("fraudsite")


# Files whose tests stand on what the Redis server does: CI runs them on Debian's redis-server as well.
ON_REDIS = (
    "tests/screening/test_",
    "tests/platform/test_pytest_services.py",
    "tests/platform/test_health.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(ON_REDIS):
            item.add_marker(pytest.mark.redis)


has_database = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    django_db_keepdb: bool,
) -> Iterator[None]:
    """pytest-django's, which drops the database at the end: whoever is still in it is put out first.

    A thread's connection outlives the thread until its garbage is collected, and the live server's threads close
    theirs when they notice that the browser has gone: on a busy machine both may be later than the drop.
    """
    stash = request.config.stash
    stash[has_database] = True
    with django_db_blocker.unblock():
        trail_may_be_emptied()
    yield
    stash[has_database] = False
    if django_db_keepdb:
        return
    with django_db_blocker.unblock():
        name = connection.settings_dict["NAME"]
        connection.close()
        database_close(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """A transactional test ends with every table emptied, those that migrations filled too: fill them again.

    Around the whole teardown, because the tables are emptied by a fixture that is taken down late. After the last
    test that is after the database is gone, and Django points at the one that the tests' was made beside.
    """
    result = yield
    mark = item.get_closest_marker("django_db")
    is_emptied = bool(mark and mark.kwargs.get("transaction")) or bool(
        {"transactional_db", "live_server", "django_db_reset_sequences"}
        & set(getattr(item, "fixturenames", ()))
    )
    if is_emptied and item.config.stash.get(has_database, False):
        with item.config.stash[blocking_manager_key].unblock():
            _fill_as_migrations_did()
    return result


def _fill_as_migrations_did() -> None:
    from django.apps import apps

    from fraudsite.roles import roles_install

    roles_install(apps)
    import_module("reporting.migrations.0004_report_schedules").make(apps, None)


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
