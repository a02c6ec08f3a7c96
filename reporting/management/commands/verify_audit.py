"""Prove the audit trail, or name the first entry that is not as it was written and the triggers that are off."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError

from reporting.audit import Head, verify
from reporting.audit_triggers import triggers_missing


class Command(BaseCommand):
    help = (
        "Walk the audit trail's chain of digests and name the first broken link, or the triggers that are off. "
        "Exit status 1 if there are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--against",
            metavar="NUMBER:DIGEST",
            help="a head noted outside the database, as each report prints it: it must still be in the chain",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        found = verify(expected=_expected(options["against"]))
        if found.broken is not None:
            raise CommandError(
                f"entry {found.broken.number} {found.broken.problem}. "
                f"{found.entries} entries before it are as they were written."
            )
        if missing := triggers_missing():
            raise CommandError(
                f"{found.entries} entries, none changed, but not every change is written or refused as it should be: "
                f"{'; '.join(missing)}."
            )
        self.stdout.write(
            f"{found.entries} entries, none changed. Newest: {found.head.number}:{found.head.digest}"
        )


def _expected(text: str | None) -> Head | None:
    if text is None:
        return None
    number, _, digest = text.partition(":")
    if not (number.isdecimal() and len(digest) == 64):
        raise CommandError("--against takes NUMBER:DIGEST, as printed on a report, e.g. 1042:9f86d0…")
    return Head(int(number), digest.lower())
