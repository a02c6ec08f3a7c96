"""Working an import off: slices, leases, killed workers, workers that are not there."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from ingestion.imports.layout import Options
from ingestion.models import ImportJob, Transaction
from screening import enqueueing, realtime, reconciliation, storing
from screening.enqueueing import lanes
from screening.imports import running, services, tasks
from screening.imports.running import import_run
from screening.imports.selectors import import_body
from screening.management.commands import import_transactions
from screening.models import Decision
from screening.pending import pending_screen
from screening.rounds import ScreeningBusy
from screening.streams import stream_take
from tests.ingestion.imports.files import csv_of, row

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    """What no `except Exception` sees: the process is gone."""


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "CHUNK_ROWS", 10)


def job_of(tmp_path: Path, rows: list[dict[str, Any]]) -> ImportJob:
    path = tmp_path / "rows.csv"
    path.write_bytes(csv_of(rows))
    return services.import_create(path=path, file_name="rows.csv", options=Options(), principal="tests")


def now(job: ImportJob) -> ImportJob:
    return ImportJob.objects.get(pk=job.pk)


def finish(job: ImportJob) -> None:
    ImportJob.objects.filter(pk=job.pk).update(leased_until=timezone.now() - timedelta(seconds=1))
    while import_run(import_id=str(job.import_id), screens_here=True):
        pass


def test_it_works_in_slices_and_goes_on_where_the_last_ended(tmp_path: Path) -> None:
    job = job_of(tmp_path, [row(number) for number in range(35)])
    slices = 0
    while import_run(import_id=str(job.import_id), for_s=0.001, screens_here=True):
        slices += 1
        assert slices < 10
    assert slices >= 3
    assert (now(job).status, now(job).accepted, now(job).replayed) == ("completed", 35, 0)
    assert Decision.objects.count() == 35


@pytest.mark.parametrize("place", ["intake_store", "pending_screen"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_it_neither_loses_nor_doubles_a_row_when_the_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, at: int
) -> None:
    job = job_of(tmp_path, [row(number, amount="-1" if number == 14 else "1") for number in range(35)])
    real, calls = getattr(running, place), 0

    def dies(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        result = real(*args, **kwargs)
        if calls == at:
            raise Killed
        return result

    monkeypatch.setattr(running, place, dies)
    with pytest.raises(Killed):
        import_run(import_id=str(job.import_id), screens_here=True)
    finish(job)
    ended = now(job)
    assert (ended.status, ended.rows_read, ended.accepted, ended.replayed, ended.rejected) == (
        "completed",
        35,
        34,
        0,
        1,
    )
    assert [error.row for error in ended.row_errors.all()] == [15]
    assert Decision.objects.count() == Transaction.objects.count() == 34


def test_it_leaves_an_import_to_whoever_holds_its_lease(tmp_path: Path) -> None:
    job = job_of(tmp_path, [row(1)])
    held = timezone.now() + timedelta(seconds=30)
    ImportJob.objects.filter(pk=job.pk).update(status="running", lease=job.import_id, leased_until=held)
    assert not import_run(import_id=str(job.import_id), screens_here=True)
    assert not Transaction.objects.exists()
    ImportJob.objects.filter(pk=job.pk).update(enqueued_at=timezone.now() - services.SWEEP_AFTER)
    assert services.imports_waiting() == []
    ImportJob.objects.filter(pk=job.pk).update(leased_until=timezone.now())
    assert services.imports_waiting() == [job]
    ImportJob.objects.filter(pk=job.pk).update(enqueued_at=timezone.now())
    assert services.imports_waiting() == []


def test_it_stores_a_chunk_once_when_two_workers_believe_it_is_theirs(tmp_path: Path) -> None:
    job = job_of(tmp_path, [row(number) for number in range(40)])

    def work() -> None:
        try:
            import_run(import_id=str(job.import_id), screens_here=True)
            ImportJob.objects.filter(pk=job.pk).update(leased_until=None)
            import_run(import_id=str(job.import_id), screens_here=True)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    finish(job)
    assert (now(job).status, now(job).accepted, now(job).replayed) == ("completed", 40, 0)
    assert Decision.objects.count() == 40


def test_it_stops_before_the_next_chunk_when_it_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path, [row(number) for number in range(35)])
    real = running.pending_screen

    def cancels(pks: Any) -> int:
        services.import_cancel(job=job)
        return real(pks)

    with monkeypatch.context() as patch:
        patch.setattr(running, "pending_screen", cancels)
        assert not import_run(import_id=str(job.import_id), screens_here=True)
    assert (now(job).status, now(job).rows_read) == ("cancelled", 10)
    services.import_resume(job=job)
    finish(job)
    assert (now(job).status, now(job).accepted, Decision.objects.count()) == ("completed", 35, 35)


def test_it_screens_by_itself_when_no_worker_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "STALL_S", 0.1)
    job = job_of(tmp_path, [row(number) for number in range(25)])
    assert not import_run(import_id=str(job.import_id))
    assert (now(job).status, Decision.objects.count()) == ("completed", 25)


def test_it_counts_as_screened_what_the_sweep_screened_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path, [row(number) for number in range(3)])
    with monkeypatch.context() as patch:
        patch.setattr(running, "pending_screen", lambda pks: 0)
        finish(job)
    assert (now(job).status, import_body(now(job))["screened"]) == ("completed", 0)
    first, *others = Transaction.objects.order_by("id").values_list("id", flat=True)
    pending_screen([first])
    assert import_body(now(job))["screened"] == 1
    pending_screen(others)
    assert import_body(now(job))["screened"] == 3


def test_it_lets_others_have_their_turn_when_it_screens_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "HERE_ROWS", 2)
    job = job_of(tmp_path, [row(number) for number in range(10)])
    assert import_run(import_id=str(job.import_id), for_s=0.001, screens_here=True)
    slices = 1
    while import_run(import_id=str(job.import_id), for_s=0.001, screens_here=True):
        slices += 1
        assert slices < 20
    assert slices > 4
    assert (now(job).status, now(job).left_pending, Decision.objects.count()) == ("completed", 0, 10)


def test_it_waits_for_slow_workers_as_many_turns_as_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "enqueue", lambda *_: True)
    job = job_of(tmp_path, [row(number) for number in range(15)])
    for _ in range(3 * running.MAX_ATTEMPTS):
        assert import_run(import_id=str(job.import_id), for_s=0.001)
    assert (now(job).status, now(job).rows_read) == ("running", 10)
    finish(job)
    assert (now(job).status, now(job).accepted) == ("completed", 15)


def test_sweeping_again_and_again_does_not_multiply_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[tuple[Any, ...]] = []
    for module in (tasks, enqueueing):
        monkeypatch.setattr(module, "enqueue", lambda _task, *arguments: messages.append(arguments))
    monkeypatch.setattr(tasks, "SLICE_S", 0.001)
    monkeypatch.setattr(running, "STALL_S", 0.0)
    job = job_of(tmp_path, [row(number) for number in range(35)])
    assert tasks.imports_sweep() == 0
    ImportJob.objects.update(enqueued_at=timezone.now() - timedelta(minutes=1))
    for _ in range(3):
        assert tasks.imports_sweep() == 1
    turns = 0
    while messages:
        waiting = len(messages)
        tasks.import_advance(*messages.pop(0))
        turns += len(messages) == waiting
        assert len(messages) <= 3
        assert turns < 100
    assert (now(job).status, now(job).accepted, Decision.objects.count()) == ("completed", 35, 35)


def test_it_gives_up_a_file_that_kills_every_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(tmp_path, [row(1)])
    real = running.Rows

    def dies(_job: ImportJob) -> Any:
        raise Killed

    monkeypatch.setattr(running, "Rows", dies)
    for _ in range(running.MAX_ATTEMPTS):
        with pytest.raises(Killed):
            import_run(import_id=str(job.import_id), screens_here=True)
    assert not import_run(import_id=str(job.import_id), screens_here=True)
    assert now(job).status == "failed"
    assert "5 times" in now(job).error
    monkeypatch.setattr(running, "Rows", real)
    services.import_resume(job=job)
    finish(job)
    assert now(job).status == "completed"


def test_it_fails_with_the_reason_when_the_file_is_gone_or_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path, [row(1)])
    Path(job.path).unlink()
    assert not import_run(import_id=str(job.import_id), screens_here=True)
    assert (now(job).status, now(job).error) == ("failed", "the file is not there any more")
    monkeypatch.setattr(running, "MAX_ROWS", 20)
    long = job_of(tmp_path, [row(number) for number in range(25)])
    assert not import_run(import_id=str(long.import_id), screens_here=True)
    assert now(long).status == "failed"
    assert "more than 20 rows" in now(long).error
    assert now(long).accepted == 20


def test_it_decides_what_a_killed_process_had_counted_once_that_is_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = row(1)

    def dies(*_args: Any, **_kwargs: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(realtime, "decisions_store", dies)
        with pytest.raises(Killed):
            stream_take("transaction", [document], principal="tests")
    with monkeypatch.context() as patch:
        # As if more time had gone by than a count stays good for.
        patch.setattr(storing, "MAX_COUNT_AGE_US", -60_000_000)
        with pytest.raises(ScreeningBusy):
            stream_take("transaction", [document], principal="tests")
    assert not Decision.objects.exists()
    monkeypatch.setattr(reconciliation, "SETTLED_AFTER_S", -5)
    assert reconciliation.counts_reconcile() == 1
    assert stream_take("transaction", [document], principal="tests") == []
    assert Decision.objects.count() == 1


def test_it_imports_from_the_command_line_and_leaves_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(csv_of([row(number, amount="?" if number == 3 else "1") for number in range(12)]))
    call_command("import_transactions", str(path), "--here", "--errors", str(tmp_path / "errors.csv"))
    assert "completed: 12 rows: 11 accepted, 0 replayed, 1 rejected" in capsys.readouterr().out
    assert path.exists()
    assert (tmp_path / "errors.csv").read_text().splitlines()[1].startswith("4,5,amount,")
    with pytest.raises(CommandError, match=r"mapping\.amount"):
        call_command("import_transactions", str(path), "--mapping", '{"amount": "nothing"}')
    with pytest.raises(CommandError, match="no file"):
        call_command("import_transactions", str(tmp_path / "none.csv"))


def test_the_command_goes_on_when_the_database_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(csv_of([row(number) for number in range(35)]))
    store, chunks = running.intake_store, 0

    def restarted(*args: Any, **given: Any) -> Any:
        nonlocal chunks
        chunks += 1
        if chunks == 2:
            with connection.copy().cursor() as other:
                other.execute("SELECT pg_terminate_backend(%s)", [backend()])
        return store(*args, **given)

    monkeypatch.setattr(running, "intake_store", restarted)
    # Its own lease, which it could not give back.
    monkeypatch.setattr(running, "LEASE", timedelta(seconds=1))
    call_command("import_transactions", str(path), "--here")
    printed = capsys.readouterr()
    assert "completed: 35 rows: 35 accepted, 0 replayed, 0 rejected" in printed.out
    assert printed.err.count("The database does not answer") == 1
    assert Decision.objects.count() == 35


def test_the_command_says_how_to_go_on_when_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(csv_of([row(number) for number in range(35)]))
    store = running.intake_store

    def interrupted(*args: Any, **given: Any) -> Any:
        raise KeyboardInterrupt

    def away(**_: Any) -> None:
        raise OperationalError

    for answers in (True, False):
        monkeypatch.setattr(running, "intake_store", interrupted)
        if not answers:
            monkeypatch.setattr(import_transactions, "import_cancel", away)
        with pytest.raises(CommandError, match="--resume") as stopped:
            call_command("import_transactions", str(path), "--here")
        assert ("does not answer" in str(stopped.value)) is not answers
        monkeypatch.setattr(running, "intake_store", store)
        call_command("import_transactions", "--resume", str(stopped.value).split()[-1], "--here")
    assert Decision.objects.count() == 35


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_it_deals_a_users_rows_to_one_lane_in_their_order() -> None:
    dealt = lanes([(pk, f"U{pk % 7}") for pk in range(100)], 4)
    assert sorted(pk for lane in dealt for pk in lane) == list(range(100))
    assert all(lane == sorted(lane) for lane in dealt)
    for user in range(7):
        assert sum(any(pk % 7 == user for pk in lane) for lane in dealt) == 1


def test_it_stores_nothing_of_a_chunk_when_the_import_is_another_workers_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path, [row(number) for number in range(5)])
    taken_over = uuid4()
    read = running.transaction_parse

    def slowly(*args: Any, **given: Any) -> Any:
        ImportJob.objects.filter(pk=job.pk).update(lease=taken_over)
        return read(*args, **given)

    monkeypatch.setattr(running, "transaction_parse", slowly)
    assert not import_run(import_id=str(job.import_id), screens_here=True)
    assert (now(job).status, now(job).rows_read, now(job).lease) == ("running", 0, taken_over)
    assert now(job).leased_until is not None
    assert not Transaction.objects.exists()


def test_it_stores_no_chunk_twice_under_one_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its position moved though the lease did not: whoever read from the old one stores nothing."""
    job = job_of(tmp_path, [row(number) for number in range(5)])
    read = running.transaction_parse

    def slowly(*args: Any, **given: Any) -> Any:
        ImportJob.objects.filter(pk=job.pk).update(rows_read=5, rejected=5)
        return read(*args, **given)

    monkeypatch.setattr(running, "transaction_parse", slowly)
    assert not import_run(import_id=str(job.import_id), screens_here=True)
    assert now(job).accepted == 0
    assert not Transaction.objects.exists()


def test_it_notices_while_it_waits_that_it_was_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "RENEW_AFTER_S", 0.0)

    def cancelled_instead(*_args: Any) -> bool:
        if now(job).status != "cancelled":
            services.import_cancel(job=job)
        return True

    job = job_of(tmp_path, [row(number) for number in range(5)])
    monkeypatch.setattr(running, "enqueue", cancelled_instead)
    assert not import_run(import_id=str(job.import_id))
    assert (now(job).status, now(job).rows_read) == ("cancelled", 5)
    assert not Decision.objects.exists()
