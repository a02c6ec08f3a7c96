"""Getting in: password, second factor, lockout, and sessions that end."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, Event
from typing import Any

import pytest
import time_machine
from axes.models import AccessAttempt
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from fraudsite import password_turns
from fraudsite.password_turns import password_turn
from fraudsite.tasks import sessions_purge
from reporting.models import AuditEntry
from tests.reporting.audit_trail import written
from tests.staff import StaffClient, staff
from tests.threads import in_threads

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough pass phrase"
PAGE = "admin:case_queue"


def log_in(client: Client, name: str = "ada", password: str = PASSWORD, token: str = "") -> Any:
    return client.post(reverse("admin:login"), {"username": name, "password": password, "otp_token": token})


def is_in(client: Client) -> bool:
    return client.get(reverse(PAGE)).status_code == 200


def code_of(device: TOTPDevice) -> str:
    return f"{totp(device.bin_key, device.step, device.t0, device.digits, device.drift):06d}"


def set_up(client: Client, name: str = "ada") -> tuple[TOTPDevice, list[str]]:
    client.get(reverse("admin:two_factor"))
    device = TOTPDevice.objects.get(user__username=name)
    response = client.post(reverse("admin:two_factor"), {"token": code_of(device)})
    assert response.status_code == 200
    device.refresh_from_db()
    return device, list(StaticToken.objects.values_list("token", flat=True))


def test_it_lets_staff_in_by_password_alone_where_no_second_factor_is_required() -> None:
    staff("ada", "Analyst")
    client = Client()
    assert log_in(client).status_code == 302
    assert is_in(client)


def test_it_keeps_strangers_out() -> None:
    response = Client().get(reverse(PAGE))
    assert response.status_code == 302
    assert reverse("admin:login") in response["Location"]


def test_it_lets_nobody_past_setting_up_the_second_factor_where_it_is_required(settings: Any) -> None:
    settings.REQUIRE_TWO_FACTOR = True
    staff("ada", "Analyst")
    client = Client()
    log_in(client)
    assert not is_in(client)
    assert client.get("/api/v1/rules/").status_code == 403
    response = client.get(reverse(PAGE), follow=True)
    assert response.redirect_chain[-1][0] == reverse("admin:two_factor")
    _device, codes = set_up(client)
    assert len(codes) == 8
    assert is_in(client)
    assert client.get("/api/v1/rules/").status_code == 200


def test_it_shows_no_menu_before_the_second_factor_is_set_up(settings: Any) -> None:
    settings.REQUIRE_TWO_FACTOR = True
    staff("root", is_superuser=True)
    client = Client()
    log_in(client, name="root")
    page = client.get(reverse("admin:two_factor")).content.decode()
    assert "Set up a second factor" in page
    assert reverse("admin:auth_user_changelist") not in page
    assert "permission" not in page
    assert reverse("admin:logout") in page


def test_it_asks_for_the_code_at_every_login_once_it_is_set_up() -> None:
    client = StaffClient("ada", "Analyst")
    device, codes = set_up(client)
    other = Client()
    assert "OTP token" in log_in(other).content.decode()
    log_in(other, token="000000")
    assert not is_in(other)
    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        log_in(other, token=code_of(device))
        assert is_in(other)
        recovered, again = Client(), Client()
        log_in(recovered, token=codes[0])
        assert is_in(recovered)
        log_in(again, token=codes[0])
        assert not is_in(again), "a recovery code works once"


def test_it_lets_staff_in_again_where_the_second_factor_is_required(settings: Any) -> None:
    settings.REQUIRE_TWO_FACTOR = True
    staff("ada", "Analyst")
    client = Client()
    log_in(client)
    device, _codes = set_up(client)
    later = Client()
    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        log_in(later, token=code_of(device))
        assert is_in(later)


def test_it_does_not_throttle_recovery_codes_by_mistyped_codes_of_the_app() -> None:
    client = StaffClient("ada", "Analyst")
    _device, codes = set_up(client)
    other = Client()
    log_in(other, token="000000")
    log_in(other, token=codes[0])
    assert is_in(other)


def test_it_removes_ones_own_second_factor_with_a_code_and_only_where_it_is_not_required(
    settings: Any,
) -> None:
    client = StaffClient("ada", "Analyst")
    device, _codes = set_up(client)
    url = reverse("admin:two_factor")
    client.post(url, {"token": "000000"})
    assert TOTPDevice.objects.exists()
    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        token = code_of(device)
        settings.REQUIRE_TWO_FACTOR = True
        assert client.post(url, {"token": token}).status_code == 403
        settings.REQUIRE_TWO_FACTOR = False
        client.post(url, {"token": token})
    assert not TOTPDevice.objects.exists()


def test_it_takes_no_wrong_code_for_setting_up() -> None:
    client = StaffClient("ada", "Analyst")
    client.get(reverse("admin:two_factor"))
    client.post(reverse("admin:two_factor"), {"token": "123"})
    assert not TOTPDevice.objects.get().confirmed


@pytest.mark.django_db(transaction=True)
def test_it_sets_up_one_second_factor_in_however_many_tabs() -> None:
    """Of two, neither could be confirmed: the page failed from then on, and its owner stayed outside."""
    clients = [StaffClient("ada", "Analyst")]
    for _ in range(7):
        clients.append(Client())
        clients[-1].cookies = clients[0].cookies
    ready = Barrier(len(clients), timeout=30)

    def open_tab(client: Client) -> int:
        ready.wait()
        return client.get(reverse("admin:two_factor")).status_code

    assert in_threads(len(clients), open_tab, clients) == [200] * len(clients)
    device, codes = set_up(clients[0])
    assert device.confirmed
    assert len(codes) == 8


def test_it_lets_an_administrator_reset_a_lost_second_factor_and_nobody_a_superusers() -> None:
    ada = StaffClient("ada", "Analyst")
    set_up(ada)
    root = StaffClient("root", is_superuser=True)
    set_up(root, "root")
    administrator = StaffClient("grace", "Administrator")
    chosen = [ada.user.pk, root.user.pk]
    administrator.post(
        reverse("admin:auth_user_changelist"), {"action": "reset_second_factor", "_selected_action": chosen}
    )
    assert list(TOTPDevice.objects.values_list("user__username", flat=True)) == ["root"]


def test_it_locks_a_name_out_after_five_wrong_passwords_for_a_while() -> None:
    staff("ada", "Analyst")
    client = Client()
    for _ in range(5):
        response = log_in(client, password="wrong")
    assert response.status_code == 429
    assert log_in(client).status_code == 429
    assert not is_in(client)
    with time_machine.travel(timezone.now() + timedelta(minutes=29)):
        assert log_in(client).status_code == 429
    # Trying on does not make it longer.
    with time_machine.travel(timezone.now() + timedelta(minutes=31)):
        assert log_in(client).status_code == 302


def test_it_checks_one_password_at_a_time_and_lets_one_more_wait() -> None:
    """Each takes half a second of a core: strangers with made-up names kept payments waiting for ten seconds."""
    is_in_turn, may_go_on = Event(), Event()

    def hold() -> None:
        with password_turn() as is_ours:
            assert is_ours
            is_in_turn.set()
            assert may_go_on.wait(30)

    def wait() -> bool:
        with password_turn() as is_ours:
            return is_ours

    staff("ada", "Analyst")
    client = Client()
    with ThreadPoolExecutor(2) as pool:
        holding = pool.submit(hold)
        assert is_in_turn.wait(30)
        waiting = pool.submit(wait)
        while not password_turns._next.locked():
            assert not waiting.done()
        response = log_in(client)
        assert "Others are logging in at this very moment" in response.content.decode()
        assert not is_in(client)
        may_go_on.set()
        holding.result(30)
        assert waiting.result(30)
    assert not AccessAttempt.objects.exists()
    assert log_in(client).status_code == 302


def test_it_waits_for_its_turn_no_longer_than_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_turns, "WAIT_S", 0.01)
    with password_turn() as first, password_turn() as second:
        assert (first, second) == (True, False)
    with password_turn() as third:
        assert third


def test_it_lets_an_administrator_unlock_somebody() -> None:
    staff("ada", "Analyst")
    client = Client()
    for _ in range(5):
        log_in(client, password="wrong")
    attempt = AccessAttempt.objects.get()
    administrator = StaffClient("grace", "Administrator")
    administrator.post(reverse("admin:axes_accessattempt_delete", args=[attempt.pk]), {"post": "yes"})
    assert log_in(client).status_code == 302


def test_the_audit_trail_says_who_came_in_went_out_and_failed_to() -> None:
    staff("ada", "Analyst")
    client = Client()
    log_in(client, password="a wrong pass phrase")
    written()
    assert log_in(client).status_code == 302
    client.post(reverse("admin:logout"))
    written()
    found = AuditEntry.objects.filter(table_name__startswith="axes_").order_by("number")
    bodies = [json.loads(each.body) for each in found]
    told = [(each["table"].removeprefix("axes_"), each["action"], each["actor"]) for each in bodies]
    nobody = bodies[0]["actor"]
    assert told == [
        ("accessattempt", "insert", nobody),
        ("accesslog", "insert", "user:ada"),
        ("accessattempt", "delete", "user:ada"),
        ("accesslog", "update", "user:ada"),
    ]
    assert nobody.startswith("process:")
    assert bodies[0]["new"]["username"] == bodies[1]["new"]["username"] == "ada"
    assert bodies[1]["new"]["ip_address"] == "127.0.0.1"
    assert bodies[1]["new"]["session_hash"].startswith("sha256:")
    assert list(bodies[3]["new"]) == ["logout_time"]
    assert not any("pass phrase" in each.body for each in found)


def failed_logins() -> list[dict[str, Any]]:
    written()
    found = AuditEntry.objects.filter(table_name="axes_accessattempt").order_by("number")
    return [json.loads(each.body)["new"] for each in found]


def test_a_wrong_code_is_noted_and_counts_like_a_wrong_password() -> None:
    staff("ada", "Analyst")
    client = Client()
    log_in(client)
    set_up(client)
    for _ in range(5):
        assert log_in(Client(), token="000000").status_code in (200, 429)
    assert failed_logins()[0]["username"] == "ada"
    assert AccessAttempt.objects.get().failures_since_start == 5
    assert log_in(Client(), token="000000").status_code == 429


def test_the_trail_keeps_no_name_that_is_nobodys() -> None:
    log_in(Client(), name=PASSWORD, password="x")
    (entry,) = failed_logins()
    assert entry["username"].startswith("sha256:")


def test_who_is_locked_out_already_writes_nothing_more() -> None:
    staff("ada", "Analyst")
    for _ in range(5):
        log_in(Client(), password="wrong")
    before = len(failed_logins())
    for number in range(3):
        browser = Client(headers={"user-agent": f"browser {number}"})
        assert log_in(browser, password="wrong").status_code == 429
    assert len(failed_logins()) == before


def test_it_ends_a_session_that_nobody_uses() -> None:
    client = StaffClient("ada", "Analyst")
    assert is_in(client)
    with time_machine.travel(timezone.now() + timedelta(minutes=59)):
        assert is_in(client)
    with time_machine.travel(timezone.now() + timedelta(minutes=59 + 61)):
        assert not is_in(client)


def test_it_does_not_take_a_page_that_refreshes_itself_for_a_person() -> None:
    client = StaffClient("ada", "Analyst")
    assert is_in(client)
    live = reverse("admin:operations_live")
    for minutes in (20, 40, 59):
        with time_machine.travel(timezone.now() + timedelta(minutes=minutes)):
            assert client.get(live, headers={"x-requested-with": "live"}).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(minutes=61)):
        assert client.get(live, headers={"x-requested-with": "live"}).status_code == 302


def test_it_ends_every_session_half_a_day_after_its_login(settings: Any) -> None:
    client = StaffClient("ada", "Analyst")
    assert is_in(client)
    start = timezone.now()
    for minutes in range(50, 12 * 60, 50):
        with time_machine.travel(start + timedelta(minutes=minutes)):
            assert is_in(client)
    with time_machine.travel(start + timedelta(hours=12, minutes=1)):
        assert not is_in(client)


def test_it_leads_back_to_the_form_whose_session_ended() -> None:
    page = reverse("admin:case_queue")
    deed = reverse("admin:case_action", args=["6f9619ff-8b86-4011-b42d-00c04fc964ff", "note"])
    back = Client().post(deed, {"note": "x"}, headers={"Referer": f"http://testserver{page}?status=open"})
    assert back["Location"] == f"{reverse('admin:login')}?next={page}%3Fstatus%3Dopen"
    for elsewhere in ("http://evil.example/admin/cases/", "http://testserver/api/docs/", ""):
        answer = Client().post(deed, {"note": "x"}, headers={"Referer": elsewhere})
        assert answer["Location"] == f"{reverse('admin:login')}?next={deed}"


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("/admin/cases/?status=open", "/admin/cases/?status=open"),
        ("//evil.example/", "/admin/"),
        ("https://evil.example/", "/admin/"),
        ("javascript:alert(1)", "/admin/"),
        ("", "/admin/"),
    ],
)
def test_it_leads_who_is_logged_in_on_to_the_page_they_wanted(wanted: str, led_to: str) -> None:
    client = StaffClient("ada", "Analyst")
    assert client.get(reverse("admin:login"), {"next": wanted})["Location"] == led_to


def test_it_forgets_sessions_that_ended_and_leaves_the_others() -> None:
    staff("ada", "Analyst")
    with time_machine.travel(timezone.now() - timedelta(hours=13)):
        log_in(Client())
    client = Client()
    log_in(client)
    assert Session.objects.count() == 2
    sessions_purge()
    assert Session.objects.count() == 1
    assert is_in(client)
