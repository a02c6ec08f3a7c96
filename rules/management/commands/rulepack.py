"""manage.py rulepack list | install [--all] [--enable KEY …]"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from fraudsite.errors import Invalid
from rules.pack.selectors import pack_status
from rules.pack.services import pack_install

PRINCIPAL = "system:rulepack"


class Command(BaseCommand):
    help = "Show the rule pack, or install what is not there yet. Installed rules are never overwritten."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="every entry, and what became of it here")
        install = actions.add_parser("install", help="install missing entries, the default ones active")
        install.add_argument("--all", action="store_true", help="install every entry active")
        install.add_argument("--enable", nargs="+", metavar="KEY", default=[], help="make these active too")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self._list()
        else:
            self._install(enable=options["enable"], enable_all=options["all"], verbosity=options["verbosity"])

    def _list(self) -> None:
        for each in pack_status():
            default = "default" if each.entry.is_enabled else ""
            rule = "" if each.rule_id is None else f"rule {each.rule_id}"
            self.stdout.write(
                f"{each.entry.key:26} {each.state:16} {rule:10} {default:8} {each.entry.typology:20} "
                f"{each.entry.document['name']}"
            )

    def _install(self, *, enable: list[str], enable_all: bool, verbosity: int) -> None:
        try:
            changes = pack_install(principal=PRINCIPAL, enable=enable, enable_all=enable_all)
        except Invalid as error:
            raise CommandError("; ".join(each.message for each in error.errors)) from None
        for change in changes:
            if change.reason:
                self.stderr.write(f"{change.key}: left out: {change.reason}")
        if verbosity > 0:
            done = [change for change in changes if not change.reason]
            in_force = sum(change.is_in_force for change in done)
            waiting = sum(change.is_active and not change.is_in_force for change in done)
            self.stdout.write(
                f"{len(done)} rules installed or activated: {in_force} in force, {waiting} await approval"
            )
