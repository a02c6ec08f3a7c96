"""`manage.py import_transactions FILE`: what POST /api/v1/imports/ does, from the command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError, connection

from fraudsite.downloads import csv_lines
from fraudsite.errors import Conflict, DomainError, Invalid
from fraudsite.heartbeats import workers_heard
from fraudsite.json_body import JsonBodyError, decode
from ingestion.imports.layout import Options
from ingestion.imports.models import ImportJob
from screening.imports.running import import_run
from screening.imports.selectors import ERROR_COLUMNS, error_rows, import_get
from screening.imports.services import import_cancel, import_create, import_resume

REPORT_EVERY_S = 2.0
SHOWN_ERRORS = 10
# While another process works on it, or the database is away.
WAIT_S = 1.0


class Command(BaseCommand):
    help = "Import a file of transactions (CSV, NDJSON, Parquet) and screen them. Ctrl-C stops, --resume goes on."

    _is_away = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", help="the file; it stays where it is")
        parser.add_argument("--resume", metavar="ID", help="go on with an import that was stopped")
        parser.add_argument("--name", default="", help="what to call the import")
        parser.add_argument("--format", default="", choices=["", *ImportJob.Format.values])
        parser.add_argument("--delimiter", default="", help="of a CSV; detected when omitted")
        parser.add_argument("--mapping", default="{}", help="JSON, or @file with it")
        parser.add_argument("--lower-case", action="store_true", help="lower-case the labels")
        parser.add_argument(
            "--ignore-unknown", action="store_true", help="leave out columns that are no fields"
        )
        parser.add_argument("--time-zone", default="", help="of times without an offset")
        parser.add_argument("--errors", metavar="FILE", help="write the row errors to this CSV file")
        parser.add_argument(
            "--here", action="store_true", help="screen in this process even where workers run"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            job = self._job(options)
        except Invalid as error:
            lines = [f"  {each.path}: {each.message}" for each in error.errors]
            raise CommandError("\n".join([error.detail, *lines])) from error
        except DomainError as error:
            raise CommandError(error.detail) from error
        self._run(job, here=options["here"] or not _has_workers())
        self._report_end(import_get(str(job.import_id)), options["errors"])

    def _job(self, options: dict[str, Any]) -> ImportJob:
        if options["resume"]:
            job = import_get(options["resume"])
            return job if job.status == ImportJob.Status.RUNNING else import_resume(job=job)
        if not options["file"]:
            raise CommandError("Name a file, or an import to --resume.")
        path = Path(options["file"])
        if not path.is_file():
            raise CommandError(f"There is no file {path}.")
        return import_create(
            path=path,
            file_name=path.name,
            options=Options(
                format=options["format"],
                delimiter={"tab": "\t", "\\t": "\t"}.get(options["delimiter"], options["delimiter"]),
                mapping=_mapping(options["mapping"]),
                lower_case=options["lower_case"],
                ignore_unknown=options["ignore_unknown"],
                time_zone=options["time_zone"],
            ),
            principal="command line",
            name=options["name"],
            is_own_file=False,
        )

    def _run(self, job: ImportJob, *, here: bool) -> None:
        import_id = str(job.import_id)
        self.stdout.write(f"Import {import_id}")
        reported_at = time.monotonic()

        def report(now: ImportJob) -> None:
            nonlocal reported_at
            if time.monotonic() - reported_at >= REPORT_EVERY_S:
                reported_at = time.monotonic()
                self.stdout.write(_counts(now))

        try:
            while self._advance(import_id, here=here, report=report):
                time.sleep(WAIT_S)
        except KeyboardInterrupt:
            self._stop(job)

    def _advance(self, import_id: str, *, here: bool, report: Callable[[ImportJob], None]) -> bool:
        """Whether there is more to do. While the database is away there is: what was committed stands."""
        try:
            return import_run(import_id=import_id, screens_here=here, on_progress=report) or _is_held(
                import_id
            )
        except (OperationalError, InterfaceError) as error:
            connection.close()
            if not self._is_away:
                self.stderr.write(f"The database does not answer ({_first_line(error)}); trying again.")
            self._is_away = True
            return True

    def _stop(self, job: ImportJob) -> None:
        go_on = f"Go on with: manage.py import_transactions --resume {job.import_id}"
        try:
            import_cancel(job=job)
        except Conflict:
            # It ended at that moment.
            return
        except (OperationalError, InterfaceError) as error:
            raise CommandError(
                f"Stopped while the database does not answer; a worker that can read the file goes on when it does. "
                f"{go_on}"
            ) from error
        raise CommandError(f"Stopped. {go_on}") from None

    def _report_end(self, job: ImportJob, errors_file: str | None) -> None:
        self.stdout.write(f"{job.status}: {_counts(job)}")
        for each in job.row_errors.all()[:SHOWN_ERRORS]:
            self.stdout.write(f"  row {each.row}: {each.path} {each.message}")
        if errors_file:
            with Path(errors_file).open("w", newline="") as file:
                file.writelines(csv_lines(ERROR_COLUMNS, error_rows(job)))
        if job.status != ImportJob.Status.COMPLETED:
            raise CommandError(job.error or f"The import is {job.status}.")


def _counts(job: ImportJob) -> str:
    return f"{job.rows_read} rows: {job.accepted} accepted, {job.replayed} replayed, {job.rejected} rejected"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _mapping(text: str) -> dict[str, Any]:
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text()
        except OSError as error:
            raise CommandError(f"The mapping cannot be read: {error}") from error
    try:
        mapping = decode(text.encode())
    except JsonBodyError as error:
        raise CommandError(f"The mapping is not JSON: {error}") from error
    if not isinstance(mapping, dict):
        raise CommandError("The mapping must be a JSON object.")
    return mapping


def _is_held(import_id: str) -> bool:
    """Whether another process works on it, or a dead one's lease still runs."""
    unfinished = (ImportJob.Status.PENDING, ImportJob.Status.RUNNING)
    return ImportJob.objects.filter(import_id=import_id, status__in=unfinished).exists()


def _has_workers() -> bool:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as client:
            return any(name.startswith("realtime@") for name in workers_heard(client))
    except redis.RedisError:
        return False
