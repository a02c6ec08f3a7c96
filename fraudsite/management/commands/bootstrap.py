"""Bring a new or older home up to date: one process, because each Django start costs a second."""

import os
import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError, call_command
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor

from fraudsite.dev.home import Home, write_private
from fraudsite.dev.output import step
from fraudsite.heartbeats import BEATS_KEY, WORKERS_KEY
from fraudsite.models import ApiKey, Scope
from fraudsite.services import api_key_create, api_key_digest

ADMIN_NAME = "admin"
KEY_NAME = "make run"
# What `make run` and `openssl rand -hex 32` make is longer.
SECRET_KEY_LENGTH = 32


class Command(BaseCommand):
    help = "Apply migrations, then make what a fresh installation lacks: admin user, API key, rule pack, static files."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--production",
            action="store_true",
            help="make no API key, note no password, and take no weak SECRET_KEY or ADMIN_PASSWORD",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        home = Home(Path(settings.FRAUDSITE_HOME))
        is_production = options["production"]
        if is_production and len(settings.SECRET_KEY) < SECRET_KEY_LENGTH:
            raise CommandError(
                f"SECRET_KEY must have {SECRET_KEY_LENGTH} characters or more; `openssl rand -hex 32` makes one."
            )
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if pending:
            with step(f"{len(pending)} migrations"):
                call_command("migrate", interactive=False, verbosity=0)
        if is_production:
            # That of an older version, which everything that shares the folder could read.
            home.admin_password.unlink(missing_ok=True)
            if production_admin_ensure():
                self.stdout.write("  ✓ admin user, with ADMIN_PASSWORD")
        elif admin_user_ensure(password_file=home.admin_password):
            self.stdout.write(f"  ✓ admin user, password in {home.admin_password}")
        if not is_production and api_key_ensure(key_file=home.api_key):
            self.stdout.write(f"  ✓ API key with all scopes, in {home.api_key}")
        with step("rule pack"):
            call_command("rulepack", "install", verbosity=0)
        if not heartbeats_forget():
            self.stdout.write("  ! Redis does not answer; the platform starts without it")
        with step("static files"):
            call_command("collectstatic", interactive=False, verbosity=0)


def heartbeats_forget() -> bool:
    """Those of the run before would pass for those of the workers and the beat that are about to start. False where
    Redis is away: until it is back nobody can take them for new ones, and they are soon too old."""
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=5) as client:
            client.delete(WORKERS_KEY, BEATS_KEY)
    except redis.RedisError:
        return False
    return True


def production_admin_ensure() -> bool:
    """Make the admin user once, with ADMIN_PASSWORD, which has to be as good as everybody's. True if made."""
    users = get_user_model().objects
    if users.filter(username=ADMIN_NAME).exists():
        return False
    password = os.environ.get("ADMIN_PASSWORD", "").strip()
    try:
        validate_password(password, get_user_model()(username=ADMIN_NAME))
    except ValidationError as error:
        raise CommandError(f"ADMIN_PASSWORD cannot be taken. {' '.join(error.messages)}") from None
    users.create_superuser(ADMIN_NAME, email="", password=password)
    return True


def admin_user_ensure(*, password_file: Path) -> bool:
    """Make the admin user once, with ADMIN_PASSWORD or a random password, and note it. True if made.

    Whoever exists keeps the password they have: a file that was lost, or removed on purpose, must not bring back the
    password of the first day.
    """
    users = get_user_model().objects
    if users.filter(username=ADMIN_NAME).exists():
        return False
    password = os.environ.get("ADMIN_PASSWORD", "").strip() or secrets.token_urlsafe(15)
    # Before the user: whoever dies between the two makes both the next time, and nobody's password is unknown.
    write_private(password_file, password + "\n")
    users.create_superuser(ADMIN_NAME, email="", password=password)
    return True


def api_key_ensure(*, key_file: Path) -> bool:
    """Make the key once; a new one when the file is gone or holds a key that is not in force. True if made."""
    if key_file.exists():
        kept_digest = api_key_digest(key_file.read_text().strip().split("_", 2)[-1])
        if ApiKey.objects.filter(digest=kept_digest, revoked_at=None).exists():
            return False
    _key, raw_key = api_key_create(name=KEY_NAME, scopes=Scope.values, created_by="bootstrap")
    write_private(key_file, raw_key + "\n")
    return True
