"""Deliveries: signed, in order per subject, tried again until taken."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from datetime import timedelta
from ipaddress import ip_network
from threading import Event, Thread
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.utils import timezone

from screening.models import OutboxEntry, Webhook, WebhookDelivery
from screening.outbox import worker
from screening.outbox.worker import outbox_purge, outbox_work
from screening.webhooks.deliveries import AT_ONCE, deliveries_make, deliveries_send, pause_after
from screening.webhooks.sending import Message, Outcome
from tests.cases.making import alert, case, rule
from tests.clients import ApiClient
from tests.webhooks.receiver import receiving

pytestmark = pytest.mark.django_db


def webhook(url: str = "https://example.com/", *topics: str) -> Webhook:
    return Webhook.objects.create(
        name="Ours", url=url, topics=list(topics or ("alert", "case", "decision")), secret="whsec_test"
    )


class Recorder:
    """A sender that delivers nothing and remembers the order; `fail` names ids that are refused."""

    def __init__(self) -> None:
        self.sent: list[dict] = []
        self.fail: set[str] = set()

    def __call__(self, url: str, message: Message) -> Outcome:
        body = json.loads(message.body)
        self.sent.append(body)
        return Outcome(500, "answered 500") if body["id"] in self.fail else Outcome(200)

    def ids(self, subject: str) -> list[str]:
        return [body["id"] for body in self.sent if body["subject"] == subject]


def deliver(hook: Webhook, subject: str, number: int) -> WebhookDelivery:
    return WebhookDelivery.objects.create(
        webhook=hook, topic="alert", subject=subject, body={"id": f"{subject}{number}", "subject": subject}
    )


def now_due() -> None:
    WebhookDelivery.objects.filter(status="pending").update(next_attempt_at=timezone.now())


def test_it_sends_alerts_and_cases_with_a_signature_the_receiver_can_check(settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    with receiving() as receiver:
        webhook(receiver.url)
        opened = case(signal="velocity", severity="high")
        assert outbox_work() == 0
        assert deliveries_send() == 2
        assert {body["topic"] for body in receiver.bodies()} == {"alert", "case"}
        told = next(body for body in receiver.bodies() if body["topic"] == "case")
        assert told["data"]["case_id"] == str(opened.case_id)
        assert told["data"]["action"] == "opened"
        for headers, body in receiver.received:
            stamp, mac = (part.split("=")[1] for part in headers["Fraudsite-Signature"].split(","))
            expected = hmac.new(b"whsec_test", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
            assert hmac.compare_digest(mac, expected)
            assert abs(time.time() - int(stamp)) < 60
            assert headers["Fraudsite-Topic"] == json.loads(body)["topic"]
    assert set(WebhookDelivery.objects.values_list("status", "attempts")) == {("delivered", 1)}


@pytest.mark.django_db(transaction=True)
def test_one_process_sends_at_a_time() -> None:
    """Receivers that answer slowly would take up every process that works off what follows from decisions."""
    hook = webhook()
    # More than one process takes at once: what is left is for this one alone as well.
    for number in range(2 * AT_ONCE):
        deliver(hook, f"S{number}", 1)
    sent_by_the_other: list[int] = []

    def beside() -> None:
        try:
            sent_by_the_other.append(deliveries_send(send=Recorder()))
        finally:
            connections.close_all()

    def slow(_url: str, _message: Message) -> Outcome:
        if not sent_by_the_other:
            other = Thread(target=beside)
            other.start()
            other.join()
        return Outcome(200)

    assert deliveries_send(send=slow) == 2 * AT_ONCE
    assert set(sent_by_the_other) == {0}
    assert deliveries_send(send=Recorder()) == 0


def test_a_receiver_that_lets_wait_holds_up_nobody_else() -> None:
    hangs, takes = webhook("https://hangs.example/"), webhook("https://takes.example/")
    for number in range(3 * AT_ONCE):
        deliver(hangs, f"S{number}", 1)
        deliver(takes, f"S{number}", 1)
    taken: list[str] = []
    all_taken = Event()

    def send(url: str, _message: Message) -> Outcome:
        if url == hangs.url:
            return Outcome(200) if all_taken.wait(30) else Outcome(None, "the other was held up")
        taken.append(url)
        if len(taken) == 3 * AT_ONCE:
            all_taken.set()
        return Outcome(200)

    assert deliveries_send(send=send) == 6 * AT_ONCE
    assert set(WebhookDelivery.objects.values_list("status", "last_error")) == {("delivered", "")}


def test_one_that_lets_wait_leaves_room_for_what_comes_later() -> None:
    hangs, takes = webhook("https://hangs.example/"), webhook("https://takes.example/")
    for number in range(2 * AT_ONCE):
        deliver(hangs, f"S{number}", 1)
    later = deliver(takes, "late", 1)
    WebhookDelivery.objects.filter(pk=later.pk).update(
        next_attempt_at=timezone.now() + timedelta(milliseconds=300)
    )
    is_taken = Event()

    def send(url: str, _message: Message) -> Outcome:
        if url == takes.url:
            is_taken.set()
        return Outcome(200) if is_taken.wait(30) else Outcome(None, "the other was held up")

    deliveries_send(send=send)
    assert set(WebhookDelivery.objects.values_list("status", "last_error")) == {("delivered", "")}


def test_it_tells_only_active_webhooks_of_the_topics_they_chose() -> None:
    chosen = webhook("https://example.com/", "alert")
    Webhook.objects.create(name="off", url="https://example.com/", topics=["alert"], is_active=False)
    case()
    assert list(WebhookDelivery.objects.values_list("webhook", "topic")) == [(chosen.pk, "alert")]


def test_it_makes_no_second_delivery_of_one_entry() -> None:
    webhook()
    case()
    before = WebhookDelivery.objects.count()
    assert before == 2
    deliveries_make(OutboxEntry.objects.all())
    assert WebhookDelivery.objects.count() == before


def test_it_sends_a_subjects_messages_in_order_and_waits_for_the_first() -> None:
    hook, recorder = webhook(), Recorder()
    for number in range(3):
        deliver(hook, "A", number)
        deliver(hook, "B", number)
    recorder.fail = {"A0"}
    deliveries_send(send=recorder)
    assert recorder.ids("B") == ["B0", "B1", "B2"]
    assert recorder.ids("A") == ["A0"]
    recorder.fail = set()
    now_due()
    deliveries_send(send=recorder)
    assert recorder.ids("A") == ["A0", "A0", "A1", "A2"]


def test_what_waits_behind_a_message_is_looked_at_no_more_until_that_one_is_tried_again() -> None:
    """A receiver that is down for a night leaves more behind it than could be looked at for every few messages."""
    hook, recorder = webhook(), Recorder()
    for number in range(1, 4):
        deliver(hook, "A", number)
    recorder.fail = {"A1"}
    deliveries_send(send=recorder)
    waiting = WebhookDelivery.objects.filter(status="pending").order_by("id")
    first, *behind = waiting.values_list("next_attempt_at", flat=True)
    assert len(behind) == 2
    assert min(behind) >= first > timezone.now()
    deliveries_send(send=recorder)
    assert recorder.ids("A") == ["A1"]
    recorder.fail = set()
    waiting.filter(body__id="A1").update(next_attempt_at=timezone.now())
    deliveries_send(send=recorder)
    assert recorder.ids("A") == ["A1", "A1", "A2", "A3"]


def test_one_message_that_is_given_up_lets_the_next_go_at_once(settings: Any) -> None:
    settings.WEBHOOK_MAX_ATTEMPTS = 1
    hook, recorder = webhook(), Recorder()
    deliver(hook, "A", 1)
    deliver(hook, "A", 2)
    recorder.fail = {"A1"}
    assert deliveries_send(send=recorder) == 2
    assert recorder.ids("A") == ["A1", "A2"]


def test_each_webhook_gets_its_turn_however_much_waits_for_another() -> None:
    behind, prompt, recorder = webhook("https://down.example/"), webhook(), Recorder()
    for number in range(3 * AT_ONCE):
        deliver(behind, f"S{number}", 1)
    deliver(prompt, "late", 1)
    recorder.fail = {f"S{number}1" for number in range(3 * AT_ONCE)}
    deliveries_send(send=recorder)
    assert "late" in [body["subject"] for body in recorder.sent[:AT_ONCE]]


def test_it_comes_to_messages_behind_more_that_wait_than_it_looks_at_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("screening.webhooks.deliveries.LOOKED_AT", 2)
    hook, recorder = webhook(), Recorder()
    for number in range(1, 8):
        deliver(hook, "A", number)
    deliver(hook, "B", 1)
    recorder.fail = {"A1"}
    deliveries_send(send=recorder)
    assert (recorder.ids("A"), recorder.ids("B")) == (["A1"], ["B1"])


def test_it_does_not_try_again_before_the_pause_is_over() -> None:
    hook, recorder = webhook(), Recorder()
    delivery = deliver(hook, "A", 0)
    recorder.fail = {"A0"}
    assert deliveries_send(send=recorder) == 1
    assert deliveries_send(send=recorder) == 0
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts, delivery.response_status) == ("pending", 1, 500)
    assert delivery.last_error == "answered 500"
    assert timedelta(seconds=6) < delivery.next_attempt_at - timezone.now() < timedelta(seconds=13)


def test_it_doubles_its_pauses_up_to_an_hour() -> None:
    for attempts, seconds in ((1, 10), (2, 20), (5, 160), (9, 2560), (10, 3600), (1000, 3600)):
        assert 0.8 * seconds <= pause_after(attempts).total_seconds() <= 1.2 * seconds


def test_it_gives_up_after_the_last_attempt_and_goes_on_with_the_next(settings: Any) -> None:
    settings.WEBHOOK_MAX_ATTEMPTS = 2
    hook, recorder = webhook(), Recorder()
    first = deliver(hook, "A", 0)
    deliver(hook, "A", 1)
    recorder.fail = {"A0"}
    deliveries_send(send=recorder)
    now_due()
    deliveries_send(send=recorder)
    first.refresh_from_db()
    assert (first.status, first.attempts) == ("failed", 2)
    assert recorder.ids("A") == ["A0", "A0", "A1"]


def test_it_takes_over_what_a_worker_that_died_had_taken() -> None:
    hook, recorder = webhook(), Recorder()
    delivery = deliver(hook, "A", 0)
    WebhookDelivery.objects.update(leased_until=timezone.now() + timedelta(seconds=60))
    assert deliveries_send(send=recorder) == 0
    WebhookDelivery.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    assert deliveries_send(send=recorder) == 1
    delivery.refresh_from_db()
    assert delivery.status == "delivered"


def test_it_holds_back_what_an_inactive_webhook_waits_for() -> None:
    hook, recorder = webhook(), Recorder()
    deliver(hook, "A", 0)
    Webhook.objects.update(is_active=False)
    assert deliveries_send(send=recorder) == 0
    Webhook.objects.update(is_active=True)
    assert deliveries_send(send=recorder) == 1


def test_it_forgets_old_entries_that_were_processed() -> None:
    alert()
    outbox_work()
    waiting = OutboxEntry.objects.create(
        kind="case", subject="later", payload={"case_pk": 0, "action": "moved"}
    )
    assert outbox_purge() == 0
    processed = OutboxEntry.objects.exclude(pk=waiting.pk)
    count = processed.update(processed_at=timezone.now() - timedelta(days=8))
    assert outbox_purge() == count == 2
    assert list(OutboxEntry.objects.all()) == [waiting]


def test_it_forgets_all_old_entries_however_many_an_hour_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("screening.outbox.worker.PURGE_CHUNK", 2)
    long_ago = timezone.now() - timedelta(days=8)
    entry = {"kind": "alert", "subject": "a", "created_at": long_ago}
    OutboxEntry.objects.bulk_create(OutboxEntry(processed_at=long_ago, **entry) for _ in range(5))
    waiting = OutboxEntry.objects.create(**entry)
    assert outbox_purge() == 5
    assert list(OutboxEntry.objects.all()) == [waiting]


def test_it_tells_of_a_decision_with_the_rules_that_hit(api: ApiClient) -> None:
    webhook("https://example.com/", "decision")
    api.post(
        "rules/",
        {
            "name": "Large",
            "rule_type": "amount_limit",
            "conditions": [{"field": "amount", "operator": "gt", "value": 100}],
            "actions": [{"action_type": "alert", "parameters": {"risk_score": 50, "reason": "Large"}}],
        },
    )
    for number, amount in enumerate((50, 500)):
        answer = api.post(
            "transactions/",
            {
                "transaction_id": f"T{number}",
                "user_id": "U1",
                "account_id": "A1",
                "amount": amount,
                "transaction_type": "debit",
                "channel": "web",
            },
        )
        assert answer.status_code == 201, answer.content
    outbox_work()
    recorder = Recorder()
    deliveries_send(send=recorder)
    (told,) = recorder.sent
    assert (told["topic"], told["subject"]) == ("decision", "A1")
    assert told["data"]["transaction_id"] == "T1"
    assert told["data"]["decision"] == "review"
    assert [each["rule_name"] for each in told["data"]["results"]] == ["Large"]


def test_it_makes_deliveries_in_the_order_in_which_things_happened() -> None:
    webhook()
    alert()
    alert(rule=rule("Structuring"), signal="structuring")
    outbox_work()
    made = list(WebhookDelivery.objects.order_by("id").values_list("outbox_id", flat=True))
    assert len(made) == 4
    assert made == sorted(made)


def test_it_leaves_entries_for_later_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be told is given up; what cannot be told now is not."""

    def away(*_args: Any) -> int:
        raise OperationalError("server closed the connection unexpectedly")

    webhook()
    opened = case()
    outbox_work()
    payload = {"case_pk": opened.pk, "action": "opened"}
    OutboxEntry.objects.create(kind="case", subject=str(opened.case_id), payload=payload)
    made = WebhookDelivery.objects.count()
    with monkeypatch.context() as patch:
        patch.setattr(worker, "deliveries_make", away)
        with pytest.raises(OperationalError):
            outbox_work()
    assert OutboxEntry.objects.filter(processed_at=None).count() == 1
    assert outbox_work() == 1
    assert WebhookDelivery.objects.count() == made + 1
