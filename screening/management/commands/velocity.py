"""`manage.py velocity rebuild|verify|fill`: the counters in Redis, by hand."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from screening.velocity.errors import StoreLost, StoreUnavailable
from screening.velocity.verify import Verified
from screening.velocity_services import Verification, velocity_prepare, velocity_rebuild, velocity_verify

SHOWN = 20


class Command(BaseCommand):
    help = (
        "Counters in Redis: rebuild them from the database, verify them against it, or fill what is missing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["rebuild", "verify", "fill"])
        parser.add_argument("--groups", type=int, default=None, help="verify at most this many groups")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._run(options["action"], options["groups"])
        except StoreLost as error:
            raise CommandError(f"Not done: {error}. Look whether Redis is well, and run it again.") from error
        except StoreUnavailable as error:
            raise CommandError(f"Redis cannot be used: {error}") from error

    def _run(self, action: str, groups: int | None) -> None:
        if action == "rebuild":
            state = velocity_rebuild()
            self.stdout.write(f"Epoch {state.epoch}: counters filled from the database.")
        elif action == "fill":
            self.stdout.write(f"{velocity_prepare()} counters filled.")
        else:
            self._report(velocity_verify(groups_at_most=groups, on_progress=self._progress))

    def _progress(self, result: Verified, counters: int) -> None:
        in_flight = f", waiting for counts in flight in {result.in_flight}" if result.in_flight else ""
        self.stdout.write(f"… {result.counters} of {counters} counters, {result.groups} groups{in_flight}")

    def _report(self, result: Verification) -> None:
        if not result.is_of_counters:
            raise CommandError("Windows are counted over SQL: there are no counters to compare.")
        for each in result.differences[:SHOWN]:
            self.stdout.write(
                f"{each.tag} {each.counter}: {len(each.missing)} missing, {len(each.surplus)} surplus"
                + (", other totals" if each.is_wrong else "")
            )
        self.stdout.write(
            f"Epoch {result.epoch}: {result.counters} counters, {result.groups} groups, "
            f"{len(result.differences)} differences."
        )
        if result.differences:
            raise CommandError(
                "The counters differ from the database. `manage.py velocity rebuild` fills them anew."
            )
