import re
import runpy
from decimal import Decimal

import pytest
from gunicorn.util import parse_address

from fraudsite import environment
from fraudsite.dev.home import CHECKOUT
from fraudsite.environment import SettingError

NAME = "FRAUDSITE_TEST_SETTING"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch):
    def give(value: str | None) -> None:
        if value is None:
            monkeypatch.delenv(NAME, raising=False)
        else:
            monkeypatch.setenv(NAME, value)

    give(None)
    return give


def test_it_names_a_variable_that_is_missing(given) -> None:
    with pytest.raises(SettingError, match=f"{NAME} is not set"):
        environment.text(NAME)


def test_it_takes_an_empty_value_for_none_given(given) -> None:
    given("  ")
    assert environment.text(NAME, "default") == "default"
    assert environment.boolean(NAME, True)


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("no", False)]
)
def test_it_reads_truth(given, value: str, expected: bool) -> None:
    given(value)
    assert environment.boolean(NAME, not expected) is expected


def test_it_refuses_a_truth_it_does_not_know(given) -> None:
    given("maybe")
    with pytest.raises(SettingError, match=f"{NAME} must be 1 or 0, not 'maybe'"):
        environment.boolean(NAME, True)


@pytest.mark.parametrize("value", ["12.5", "many", "1e3", "0x10"])
def test_it_refuses_what_is_no_whole_number(given, value: str) -> None:
    given(value)
    with pytest.raises(SettingError, match=f"{NAME} must be a whole number"):
        environment.whole_number(NAME, 1)


@pytest.mark.parametrize(("value", "told"), [("0", "at least 1"), ("11", "at most 10")])
def test_it_holds_numbers_to_their_bounds(given, value: str, told: str) -> None:
    given(value)
    with pytest.raises(SettingError, match=f"{NAME} must be {told}"):
        environment.whole_number(NAME, 5, minimum=1, maximum=10)


def test_it_reads_decimals_exactly(given) -> None:
    given("0.10")
    assert environment.decimal(NAME, "1") == Decimal("0.10")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "ten"])
def test_it_refuses_what_is_no_finite_number(given, value: str) -> None:
    given(value)
    with pytest.raises(SettingError, match=NAME):
        environment.decimal(NAME, "1")


def test_it_splits_lists_and_drops_blanks(given) -> None:
    given(" a, b ,,c")
    assert environment.words(NAME) == ["a", "b", "c"]


def test_it_tells_the_allowed_values(given) -> None:
    given("aprove")
    with pytest.raises(SettingError, match=f"{NAME} must be one of review, block, not 'aprove'"):
        environment.choice(NAME, "review", ("review", "block"))


def test_it_reads_a_database_address_with_a_port_and_options(given) -> None:
    given("postgresql://us%40er:p%2Fw@db.internal:5433/name?sslmode=require")
    read = environment.database(NAME)
    assert (read["USER"], read["PASSWORD"]) == ("us@er", "p/w")
    assert (read["HOST"], read["PORT"], read["NAME"]) == ("db.internal", "5433", "name")
    assert read["OPTIONS"] == {"sslmode": "require"}


def test_it_adds_its_own_to_the_options_of_an_address_and_wins(given) -> None:
    given("postgresql://host/name?options=-c%20search_path%3Dfraud%20-c%20statement_timeout%3D0")
    options = environment.database(NAME)["OPTIONS"]["options"]
    assert environment.server_options(options, statement_timeout=8000) == (
        "-c search_path=fraud -c statement_timeout=0 -c statement_timeout=8000"
    )
    assert environment.server_options("") == ""


def test_it_reads_a_socket_folder_as_the_host(given) -> None:
    given("postgresql://user:word@/name?host=/run/some%20where")
    read = environment.database(NAME)
    assert read["HOST"] == "/run/some where"
    assert read["OPTIONS"] == {}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("mysql://host/name", "postgresql://"),
        ("postgresql://host/", "no database"),
        ("postgresql://h:x/n", "port"),
    ],
)
def test_it_refuses_an_address_that_is_no_database(given, value: str, told: str) -> None:
    given(value)
    with pytest.raises(SettingError, match=told) as caught:
        environment.database(NAME)
    assert NAME in str(caught.value)


def test_it_never_shows_the_password_of_a_wrong_address(given) -> None:
    given("mysql://user:hunter2@host/name")
    with pytest.raises(SettingError) as caught:
        environment.database(NAME)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("redis://:word@host:6379/0", "redis://:word@host:6379/1"),
        ("redis://host:6379", "redis://host:6379/1"),
        ("rediss://host:6379/0?ssl_cert_reqs=none&db=3", "rediss://host:6379/1?ssl_cert_reqs=none"),
        ("unix://:word@/run/redis.sock?db=0", "redis+socket://:word@/run/redis.sock?virtual_host=1"),
    ],
)
def test_it_gives_celery_another_database_of_the_same_redis(address: str, expected: str) -> None:
    assert environment.broker_url(address, 1) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("unix://:word@/run/redis.sock?db=0", "unix://:word@/run/redis.sock?db=1"),
        ("redis://:word@host:6379/0", "redis://:word@host:6379/1"),
    ],
)
def test_it_gives_redis_py_another_database_of_the_same_redis(address: str, expected: str) -> None:
    assert environment.redis_database_url(address, 1) == expected


@pytest.mark.parametrize(("host", "bound"), [("::1", "::1"), ("[::1]", "::1"), ("127.0.0.1", "127.0.0.1")])
def test_it_gives_gunicorn_an_address_it_can_read(
    monkeypatch: pytest.MonkeyPatch, host: str, bound: str
) -> None:
    monkeypatch.setenv("HOST", host)
    monkeypatch.setenv("PORT", "8001")
    assert parse_address(runpy.run_path(str(CHECKOUT / "fraudsite/gunicorn_conf.py"))["bind"]) == (
        bound,
        8001,
    )


def test_it_lists_every_variable_the_settings_read() -> None:
    read = set(
        re.findall(r'environment\.\w+\(\s*"([A-Z_]+)"', (CHECKOUT / "fraudsite/settings.py").read_text())
    )
    listed = set(re.findall(r"^#?([A-Z_]+)=", (CHECKOUT / ".env.example").read_text(), re.MULTILINE))
    # The supervisor names the process; nobody sets it.
    assert read - listed == {"FRAUDSITE_PROCESS"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BASE_CURRENCY", "ngn"),
        ("BASE_CURRENCY", "naira"),
        ("CNP_CHANNELS", "web,CARD_NOT_PRESENT"),
        ("ALLOWED_HOSTS", "https://fraud.example.com"),
        ("ALLOWED_HOSTS", "fraud.example.com:8443"),
        ("CSRF_TRUSTED_ORIGINS", "fraud.example.com"),
        ("CSRF_TRUSTED_ORIGINS", "https://fraud.example.com/admin"),
        ("BATCH_MEMORY_LIMIT", "plenty"),
        ("REDIS_URL", "redis://host:port/0"),
        ("REDIS_URL", "redis://host/zero"),
        ("CELERY_BROKER_URL", "banana"),
    ],
)
def test_a_setting_that_would_silently_do_nothing_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match=f"^{name} "):
        runpy.run_path(str(CHECKOUT / "fraudsite/settings.py"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BASE_CURRENCY", "USD"),
        ("CNP_CHANNELS", ""),
        ("ALLOWED_HOSTS", "*"),
        ("ALLOWED_HOSTS", ".example.com,10.0.0.7,[::1],web_1"),
        ("CSRF_TRUSTED_ORIGINS", "https://*.example.com,http://fraud.local:8080"),
        ("BATCH_MEMORY_LIMIT", "1.5 GiB"),
        ("CELERY_BROKER_URL", "redis+socket:///run/redis.sock?virtual_host=1"),
    ],
)
def test_it_takes_every_form_a_setting_may_have(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    runpy.run_path(str(CHECKOUT / "fraudsite/settings.py"))
