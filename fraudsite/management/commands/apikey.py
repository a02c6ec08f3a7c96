"""`manage.py apikey create|list|revoke`: API keys from the command line."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.utils import timezone

from fraudsite.errors import Invalid
from fraudsite.models import ApiKey, Scope
from fraudsite.services import api_key_create, api_key_revoke

CREATED_BY = "system:command"


class Command(BaseCommand):
    help = "Make, list and revoke API keys. A new key is printed once and kept nowhere."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a key and print it")
        create.add_argument("name")
        create.add_argument(
            "--scope", action="append", default=[], metavar="SCOPE", help=", ".join(Scope.values)
        )
        create.add_argument("--all-scopes", action="store_true")
        create.add_argument("--days", type=int, help="days until it expires; never without")
        actions.add_parser("list", help="prefix, name, scopes and state of every key")
        actions.add_parser("revoke", help="refuse a key from now on").add_argument("prefix")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        getattr(self, f"_{action}")(options)

    def _create(self, options: dict[str, Any]) -> None:
        days = options["days"]
        if days is not None and not 0 < days <= 36_500:
            raise CommandError("--days takes 1 to 36500")
        try:
            _, raw_key = api_key_create(
                name=options["name"],
                scopes=Scope.values if options["all_scopes"] else options["scope"],
                created_by=CREATED_BY,
                expires_at=None if days is None else timezone.now() + timedelta(days=days),
            )
        except Invalid as error:
            raise CommandError("; ".join(f"{each.path}: {each.message}" for each in error.errors)) from None
        self.stdout.write(raw_key)

    def _list(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        for key in ApiKey.objects.order_by("id"):
            state = "revoked" if key.revoked_at else "active" if key.is_valid_at(now) else "expired"
            used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
            self.stdout.write(f"{key.prefix}  {state:8}{used:18}{key.name}  [{' '.join(key.scopes)}]")

    def _revoke(self, options: dict[str, Any]) -> None:
        key = ApiKey.objects.filter(prefix=options["prefix"].removeprefix("key:")).first()
        if key is None:
            raise CommandError(f"There is no key with the prefix {options['prefix']!r}.")
        was_active = api_key_revoke(key=key)
        self.stdout.write(
            "Revoked; refused everywhere within two seconds." if was_active else "It was revoked before."
        )
