"""The platform as processes: one payment followed through their logs, and their figures read from one address."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fraudsite.dev import looking
from tests.stack import Stack, platform

PATIENCE_S = 180.0
DECISIONS = "fraudsite_decisions_last_minute"


@pytest.fixture(scope="module")
def metrics_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metrics")


@pytest.fixture(scope="module")
def stack(metrics_folder: Path) -> Iterator[Stack]:
    with platform(LOG_LEVEL="INFO", PROMETHEUS_MULTIPROC_DIR=str(metrics_folder)) as stack:
        stack.start_web(workers=2, threads=2)
        stack.start_worker(processes_n=2)
        yield stack


def transaction(name: str) -> dict[str, Any]:
    return {
        "transaction_id": name,
        "user_id": f"U-{name}",
        "account_id": f"A-{name}",
        "amount": "5",
        "transaction_type": "debit",
        "channel": "web",
    }


def lines_about(stack: Stack, process: str, name: str) -> list[dict[str, Any]]:
    """But for warnings: on a busy machine the broker may be late."""
    text = (stack.home.logs / f"{process}.log").read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("transaction_id") == name and line["level"] == "info"]


def decided(stack: Stack, name: str) -> bool:
    return stack.get(f"transactions/{name}/screening/").body.get("decision") is not None


def test_it_follows_a_payment_from_the_request_through_the_worker_to_its_decision(stack: Stack) -> None:
    accepted = stack.post("transactions/?mode=async", transaction("followed"))
    assert accepted.status == 202
    request_id = accepted.headers["X-Request-ID"]
    stack.wait(lambda: decided(stack, "followed"), "a worker decides", patience_s=PATIENCE_S)
    decision = stack.get("transactions/followed/screening/").body
    stack.wait(
        lambda: lines_about(stack, "worker-realtime", "followed"),
        "the worker says so",
        patience_s=PATIENCE_S,
    )

    (web,) = lines_about(stack, "web", "followed")
    (worker,) = lines_about(stack, "worker-realtime", "followed")

    assert (web["event"], web["request_id"]) == ("transaction_accepted", request_id)
    assert (worker["event"], worker["request_id"]) == ("transaction_decided", request_id)
    assert worker["task"] == "screening.transactions_screen_pending"
    assert worker["task_id"]
    assert (worker["decision_id"], worker["decision"]) == (decision["decision_id"], decision["decision"])


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
CREATED = ("fraudsite_django_http_responses_total_by_status_total", (("status", "201"),))


def over_a_new_connection(stack: Stack, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """Which web process takes a connection is the kernel's choice."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=PATIENCE_S)
    headers = {"Authorization": f"Api-Key {stack.api_key}", "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def samples(stack: Stack) -> Samples:
    text = over_a_new_connection(stack, "GET", "/metrics")[1].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_its_web_processes_add_up_whichever_of_them_is_asked(stack: Stack, metrics_folder: Path) -> None:
    before = samples(stack).get(CREATED, 0.0)
    sent = 0

    def both_have_served() -> bool:
        nonlocal sent
        status, _ = over_a_new_connection(stack, "POST", "/api/v1/transactions/", transaction(f"web-{sent}"))
        assert status == 201
        sent += 1
        return len(served()) == 2

    def served() -> list[Path]:
        """A file for each process that has counted something."""
        return [file for file in metrics_folder.glob("counter_*.db") if b'"201"' in file.read_bytes()]

    stack.wait(both_have_served, "both web processes have taken a payment", patience_s=PATIENCE_S)
    for _ in range(4):
        assert samples(stack)[CREATED] - before == sent


def test_its_status_names_the_queues(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is where the runbook sends whoever has transactions that stay pending."""
    monkeypatch.setenv("FRAUDSITE_URL", f"http://127.0.0.1:{stack.port}")
    looking.status(stack.home)
    waiting = re.findall(r"^  (\w+) +\d+ waiting$", capsys.readouterr().out, re.MULTILINE)
    assert waiting == ["realtime", "batch", "default"]


def test_what_workers_decide_is_in_the_same_figures(stack: Stack) -> None:
    """Read from the database: whichever process made the decision."""
    sent = 0

    def worker_decision_is_counted() -> bool:
        nonlocal sent
        name = f"worker-{sent}"
        sent += 1
        assert stack.post("transactions/?mode=async", transaction(name)).status == 202
        stack.wait(lambda: decided(stack, name), "a worker decides", patience_s=PATIENCE_S)
        found = samples(stack)
        return sum(value for (name, _), value in found.items() if name == DECISIONS) > 0

    # Those of the tests before are more than a minute old.
    stack.sql("UPDATE screening_decision SET created_at = created_at - interval '1 hour'")
    stack.wait(worker_decision_is_counted, "a worker's decision is counted", patience_s=PATIENCE_S)
