"""`python -m fraudsite.healthcheck` as a Django command, for whoever asks by hand."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError

from fraudsite import healthcheck


class Command(BaseCommand):
    help = "Exit 0 when this container's process is in order: the web server, with --worker a worker, with --beat beat."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        healthcheck.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        problem = healthcheck.problem(worker=options["worker"], beat=options["beat"])
        if problem is not None:
            raise CommandError(problem)
