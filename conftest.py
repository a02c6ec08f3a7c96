"""What every test may use. PostgreSQL and Redis come from the plug-in `fraudsite.dev.pytest_services`."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pytest_django.plugin import DjangoDbBlocker
from redis import Redis
from xdist.scheduler import LoadFileScheduling

from fraudsite.api.authentication import forget_keys
from fraudsite.garbage import collect_seldom
from tests.clients import ApiClient
from tests.databases import (
    database_close,
    database_is_emptied_quickly,
    template_drop,
    template_use,
    trail_may_be_emptied,
)

hypothesis_settings.register_profile(
    "fraudsite",
    # On a shared machine the clock says nothing about the code.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
hypothesis_settings.load_profile("fraudsite")


# Files whose tests stand on what the Redis server does: CI runs them, but the slow, on Debian's redis-server as well.
ON_REDIS = (
    "tests/screening/test_",
    "tests/platform/test_pytest_services.py",
    "tests/platform/test_health.py",
)
WITHOUT_REDIS = "tests/screening/test_sql_agreement.py"


# More than a minute of a process each, the longest first.
LONGEST = (
    "tests/faults/",
    "tests/screening/test_sql_agreement.py",
    "tests/screening/test_handbook.py",
    "tests/screening/test_redis_agreement.py",
    "tests/ingestion/test_simulator_patterns.py",
    "tests/browser/test_story.py",
    "tests/platform/test_supervisor.py",
    "tests/screening/test_cluster.py",
)
# Folders whose files share something that is dear to make: one process runs all of them.
TOGETHER = ("tests/faults",)


class FilesAndFolders(LoadFileScheduling):
    """`--dist loadfile`, but the folders of TOGETHER go as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        return next(
            (folder for folder in TOGETHER if nodeid.startswith(f"{folder}/")), super()._split_scope(nodeid)
        )


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return FilesAndFolders(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_configure() -> None:
    # A password's hash is made to cost half a second, and hundreds of tests make a person.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]


def pytest_collection_finish() -> None:
    # As our own processes do once everything is imported: a tenth of the time went into looking for garbage in it.
    collect_seldom()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(ON_REDIS) and not item.nodeid.startswith(WITHOUT_REDIS):
            item.add_marker(pytest.mark.redis)
    # What takes minutes goes first: left to the end, one process would work through it while the others wait.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (_place(item), item.path not in slow))


def _place(item: pytest.Item) -> int:
    """Among LONGEST; behind them for all others."""
    return next((at for at, name in enumerate(LONGEST) if item.nodeid.startswith(name)), len(LONGEST))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    request: pytest.FixtureRequest,
    django_db_modify_db_settings: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    """pytest-django's; the processes of one run copy their databases from one that is migrated once."""
    run = getattr(request.config, "workerinput", {}).get("testrunuid")
    if run is None:
        yield
        return
    name = f"test_template_{run[:12]}"
    with django_db_blocker.unblock():
        template_use(name)
    yield
    with django_db_blocker.unblock():
        template_drop(name)


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    django_db_keepdb: bool,
) -> Iterator[None]:
    """pytest-django's, which drops the database at the end: whoever is still in it is put out first.

    A thread's connection outlives the thread until its garbage is collected, and the live server's threads close
    theirs when they notice that the browser has gone: on a busy machine both may be later than the drop.
    """
    with django_db_blocker.unblock():
        trail_may_be_emptied()
        database_is_emptied_quickly()
    yield
    if django_db_keepdb:
        return
    with django_db_blocker.unblock():
        name = connection.settings_dict["NAME"]
        connection.close()
        database_close(name)


@pytest.fixture(autouse=True)
def _no_remembered_keys() -> None:
    forget_keys()


@pytest.fixture
def api(db: None) -> ApiClient:
    """A client with every scope."""
    return ApiClient()


@pytest.fixture
def redis_client() -> Iterator[Redis]:
    """This worker's own Redis, emptied: no other test runs on it at the same time."""
    with Redis.from_url(settings.REDIS_URL) as client:
        client.flushall()
        yield client
