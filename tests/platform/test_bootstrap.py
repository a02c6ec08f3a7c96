"""What a start makes, and what it leaves as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from fraudsite.management.commands import bootstrap
from fraudsite.management.commands.bootstrap import admin_user_ensure
from fraudsite.models import ApiKey

pytestmark = pytest.mark.django_db


def admin() -> User:
    user: User = get_user_model().objects.get(username="admin")
    return user


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "admin-password"


def test_it_makes_the_admin_once_with_the_password_that_was_given(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_PASSWORD", "of the first day")
    assert admin_user_ensure(password_file=file)
    assert admin().is_superuser
    assert admin().check_password("of the first day")
    assert file.read_text() == "of the first day\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert not admin_user_ensure(password_file=file)


def test_it_makes_a_password_when_none_was_given(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADMIN_PASSWORD", raising=False)
    admin_user_ensure(password_file=file)
    assert admin().check_password(file.read_text().strip())


def test_it_leaves_an_admins_password_alone_when_the_file_is_gone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_PASSWORD", "of the first day")
    admin_user_ensure(password_file=file)
    changed = admin()
    changed.set_password("chosen since then")
    changed.save()
    file.unlink()
    assert not admin_user_ensure(password_file=file)
    assert admin().check_password("chosen since then")
    assert not file.exists()


def test_it_notes_the_password_before_there_is_somebody_with_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that dies in between makes both the next time."""

    def refuse(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(get_user_model().objects, "create_superuser", refuse)
        with pytest.raises(KeyboardInterrupt):
            admin_user_ensure(password_file=file)
    assert file.exists()
    assert admin_user_ensure(password_file=file)
    assert admin().check_password(file.read_text().strip())


def test_it_goes_on_while_redis_is_away(
    settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings.REDIS_URL = "unix:///nonexistent/redis.sock"
    monkeypatch.setenv("ADMIN_PASSWORD", "of the first day")
    settings.FRAUDSITE_HOME = tmp_path
    called: list[str] = []
    monkeypatch.setattr(bootstrap, "call_command", lambda name, *_args, **_options: called.append(name))
    call_command("bootstrap", "--production")
    assert called == ["rulepack", "collectstatic"]
    assert "Redis does not answer; the platform starts without it" in capsys.readouterr().out


@pytest.fixture
def home(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.FRAUDSITE_HOME = tmp_path
    monkeypatch.setattr(bootstrap, "call_command", lambda *_args, **_options: None)
    return tmp_path


def test_in_production_no_secret_is_left_behind(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "admin-password").write_text("noted by an older version\n")
    monkeypatch.setenv("ADMIN_PASSWORD", "of the first day")
    call_command("bootstrap", "--production")
    assert admin().check_password("of the first day")
    assert list(home.iterdir()) == []
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("password", ["", "short", "administrator"])
def test_in_production_the_admin_gets_no_password_that_others_could_not_choose(
    home: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("ADMIN_PASSWORD", password)
    with pytest.raises(CommandError, match="ADMIN_PASSWORD cannot be taken"):
        call_command("bootstrap", "--production")
    assert not get_user_model().objects.exists()


def test_in_production_the_secret_key_is_long(home: Path, settings: Any) -> None:
    settings.SECRET_KEY = "changeme"
    with pytest.raises(CommandError, match="SECRET_KEY must have 32 characters or more"):
        call_command("bootstrap", "--production")
    assert not get_user_model().objects.exists()
