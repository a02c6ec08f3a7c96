"""`manage.py simulate`: play the simulated stream against a running service, or write it to files."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, ClassVar

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ingestion.simulator import SimulatorConfigError
from ingestion.simulator.commandline import PLACES, add_arguments, run
from ingestion.simulator.config import DEFAULTS


class Command(BaseCommand):
    help = "Plays a reproducible stream of simulated payments, honest and fraudulent, or writes it to files."
    requires_system_checks: ClassVar[list[str]] = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        values = {name: getattr(settings, name, None) for name in (*DEFAULTS, *PLACES)}
        try:
            run(Namespace(**options), values, self._say)
        except (SimulatorConfigError, OSError) as error:
            raise CommandError(str(error)) from error

    def _say(self, line: str) -> None:
        self.stderr.write(line)
        self.stderr.flush()
