"""`manage.py transactions_retire --before DATE`: transactions of months long past leave the database."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from fraudsite.errors import DomainError
from screening.retirement.services import DEFAULT_CHUNK, Retirement, transactions_retire

REPORT_EVERY_S = 2.0


class Command(BaseCommand):
    help = (
        "Let transactions from before a day (UTC) leave, with their decisions. Their ids stay known: sent again they "
        "are not decided anew. What an alert, a label or an open case needs stays. Ctrl-C stops; run it again to go on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--before", required=True, metavar="DATE", help="occurred and received before it")
        parser.add_argument("--dry-run", action="store_true", help="count what would leave, change nothing")
        parser.add_argument(
            "--chunk", type=int, default=DEFAULT_CHUNK, help="transactions looked at per commit"
        )
        parser.add_argument("--limit", type=int, default=None, help="let at most so many leave")
        parser.add_argument(
            "--export",
            metavar="FILE",
            help="write them to this new gzipped NDJSON file before they are deleted",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self._reported_at = time.monotonic()
        try:
            done = transactions_retire(
                before=_midnight(options["before"]),
                principal="command:transactions_retire",
                chunk=options["chunk"],
                limit=options["limit"],
                export=Path(options["export"]) if options["export"] else None,
                is_dry_run=options["dry_run"],
                on_progress=self._report,
            )
        except DomainError as error:
            lines = [f"  {each.path}: {each.message}" for each in error.errors]
            raise CommandError("\n".join([error.detail, *lines])) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped. What has left has left; the same command goes on.") from None
        self._report_end(done, is_dry_run=options["dry_run"])

    def _report(self, done: Retirement) -> None:
        if time.monotonic() - self._reported_at >= REPORT_EVERY_S:
            self._reported_at = time.monotonic()
            self.stdout.write(f"{done.looked_at} looked at, {done.retired} left")

    def _report_end(self, done: Retirement, *, is_dry_run: bool) -> None:
        verb = "would leave" if is_dry_run else "left"
        self.stdout.write(f"{done.looked_at} looked at: {done.retired} {verb}, {done.kept.total()} stay")
        for reason, n in done.kept.most_common():
            self.stdout.write(f"  {n}: {reason}")
        if done.run is not None and done.run.export_path:
            self.stdout.write(f"Exported to {done.run.export_path}, SHA-256 {done.run.export_digest}")


def _midnight(text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--before must be a day such as 2021-11-01, not {text!r}.") from None
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
