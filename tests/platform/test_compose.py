"""What the containers of docker-compose.yml are told: the settings of `.env`, and what is their own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fraudsite.dev.home import CHECKOUT

# About the machine of whoever runs `make run`: a container has its own.
OF_THE_MACHINE = frozenset(
    {
        *("HOST", "PORT", "FRAUDSITE_HOME", "IMPORT_DIR", "DEBUG"),
        *("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "POSTGRESQL_BIN", "REDIS_SERVER"),
    }
)
NOT_FOR_EVERYBODY = frozenset({"ADMIN_PASSWORD", "GRAFANA_PASSWORD"})
PLATFORM = ("bootstrap", "web", "worker-realtime", "worker-batch", "worker-default", "beat", "kafka-consumer")


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    return read


def listed() -> set[str]:
    return set(re.findall(r"^#?([A-Z_]+)=", (CHECKOUT / ".env.example").read_text(), re.MULTILINE))


def told(service: str, dotenv: dict[str, str]) -> dict[str, str]:
    """The container's environment as Compose makes it: the image's, over it `env_file`, over it `environment`."""
    described = compose()["services"][service]
    given = {"HOST": "0.0.0.0", "PORT": "8000", "FRAUDSITE_HOME": "/var/lib/fraudsite"}
    for file in described.get("env_file", []):
        assert file == {"path": ".env", "required": False}
        given |= dotenv
    return given | {name: filled(value, dotenv) for name, value in described["environment"].items()}


def filled(value: str, dotenv: dict[str, str]) -> str:
    return re.sub(
        r"\$\{([A-Z_]+)(?::([-?])([^}]*))?\}",
        lambda found: dotenv.get(found[1]) or (found[3] if found[2] == "-" else ""),
        value,
    )


@pytest.mark.parametrize("service", PLATFORM)
def test_it_gives_every_setting_of_the_env_file_to_the_platform(service: str) -> None:
    dotenv = {name: f"given-{name}" for name in listed()}
    reached = told(service, dotenv)
    wanted = dotenv.keys() - OF_THE_MACHINE - NOT_FOR_EVERYBODY
    # Added to, never taken from.
    reached["ALLOWED_HOSTS"] = reached["ALLOWED_HOSTS"].split(",")[0]
    assert {name: reached.get(name) for name in wanted} == {name: dotenv[name] for name in wanted}


@pytest.mark.parametrize("service", PLATFORM)
def test_it_keeps_its_own_places_whatever_the_developers_machine_has(service: str) -> None:
    of_a_developer = {
        "HOST": "127.0.0.1",
        "PORT": "8123",
        "FRAUDSITE_HOME": "/home/ada/.local",
        "IMPORT_DIR": "/home/ada/uploads",
        "DATABASE_URL": "postgresql://ada@localhost/ada",
        "REDIS_URL": "redis://localhost:6379/0",
        "CELERY_BROKER_URL": "redis://localhost:6379/1",
        "DEBUG": "1",
        "POSTGRES_PASSWORD": "secret1",
        "REDIS_PASSWORD": "secret2",
    }
    reached = told(service, of_a_developer)
    assert {name: reached[name] for name in of_a_developer.keys() & OF_THE_MACHINE} == {
        "HOST": "0.0.0.0",
        "PORT": "8000",
        "FRAUDSITE_HOME": "/var/lib/fraudsite",
        # Empty is not given: in the volume, and in this Redis.
        "IMPORT_DIR": "",
        "CELERY_BROKER_URL": "",
        "DATABASE_URL": "postgresql://fraudsite:secret1@postgres:5432/fraudsite",
        "REDIS_URL": "redis://:secret2@redis:6379/0",
        "DEBUG": "0",
    }


def test_it_tells_the_admins_password_only_to_who_makes_the_admin() -> None:
    knowing = [name for name in PLATFORM if told(name, {"ADMIN_PASSWORD": "word"})["ADMIN_PASSWORD"]]
    assert knowing == ["bootstrap"]
    assert not any(told(name, {"GRAFANA_PASSWORD": "word"})["GRAFANA_PASSWORD"] for name in PLATFORM)


@pytest.mark.parametrize("dotenv", [{}, {"ALLOWED_HOSTS": "fraud.example.com"}])
def test_it_lets_its_health_check_and_prometheus_in_whatever_people_call_it(dotenv: dict[str, str]) -> None:
    allowed = told("web", dotenv)["ALLOWED_HOSTS"].split(",")
    assert {"127.0.0.1", "web", *dotenv.values()} <= set(allowed)


def env_file_as_it_comes() -> dict[str, str]:
    lines = (CHECKOUT / ".env.example").read_text()
    return dict(re.findall(r"^([A-Z_]+)=(.*)", lines, re.MULTILINE))


@pytest.mark.parametrize("dotenv", [{}, env_file_as_it_comes()], ids=["no .env", ".env.example"])
def test_it_is_stricter_than_the_program_where_nothing_is_said(dotenv: dict[str, str]) -> None:
    reached = told("web", dotenv)
    assert (reached["REQUIRE_RULE_APPROVAL"], reached["REQUIRE_TWO_FACTOR"]) == ("1", "1")
    assert reached["SESSION_IDLE_MINUTES"] == "30"
    assert told("web", {"REQUIRE_TWO_FACTOR": "0"})["REQUIRE_TWO_FACTOR"] == "0"


def test_only_its_own_machine_reaches_what_it_publishes_unless_told_otherwise() -> None:
    published = {name: each["ports"] for name, each in compose()["services"].items() if "ports" in each}
    assert published == {
        "web": ["${PUBLISH:-127.0.0.1}:${PORT:-8000}:8000"],
        "grafana": ["${PUBLISH:-127.0.0.1}:${GRAFANA_PORT:-3000}:3000"],
    }


def test_no_container_fills_the_disk_with_its_lines() -> None:
    for name, each in compose()["services"].items():
        options = each["logging"]["options"]
        assert {"max-size", "max-file"} <= options.keys(), name


def test_it_lists_every_variable_that_compose_and_the_image_read() -> None:
    of_compose = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", (CHECKOUT / "docker-compose.yml").read_text()))
    of_the_image = set(re.findall(r"\$\{([A-Z_]+)", (CHECKOUT / "deploy/entrypoint.sh").read_text()))
    of_gunicorn = set(
        re.findall(r"environment\.\w+\(['\"]([A-Z_]+)", (CHECKOUT / "fraudsite/gunicorn_conf.py").read_text())
    )
    assert {"GRAFANA_PORT", "POSTGRES_PASSWORD"} <= of_compose
    assert "WORKER_CONCURRENCY" in of_the_image
    assert "WEB_WORKERS" in of_gunicorn
    assert (of_compose | of_the_image | of_gunicorn) - listed() == set()


def test_it_asks_every_process_that_goes_on_whether_it_is_well() -> None:
    asked = {name: compose()["services"][name]["healthcheck"]["test"] for name in PLATFORM[1:-1]}
    command = ["CMD", "python", "-m", "fraudsite.healthcheck"]
    assert asked == {
        "web": command,
        **{f"worker-{kind}": [*command, "--worker", kind] for kind in ("realtime", "batch", "default")},
        "beat": [*command, "--beat"],
    }


def test_it_keeps_in_memory_what_web_processes_map(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$PROMETHEUS_MULTIPROC_DIR"\n')
    python.chmod(0o755)
    told = subprocess.run(
        ["sh", str(CHECKOUT / "deploy/entrypoint.sh"), "web"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    Path(told).rmdir()
    assert Path(told).parent == Path("/dev/shm")


@pytest.mark.parametrize("service", [*PLATFORM[1:], "redis", "postgres"])
def test_it_gives_every_process_the_time_that_it_needs_to_stop(service: str) -> None:
    assert int(compose()["services"][service]["stop_grace_period"].removesuffix("s")) >= 30


def test_it_lets_the_image_take_root_from_redis() -> None:
    """Which its script does only where its first word is `redis-server`."""
    command = compose()["services"]["redis"]["command"][-1]
    assert command.split()[:3] == ["exec", "docker-entrypoint.sh", "redis-server"]


def test_it_starts_while_redis_is_away() -> None:
    waits_for = compose()["services"]["bootstrap"]["depends_on"]
    assert {name: on["condition"] for name, on in waits_for.items()} == {
        "postgres": "service_healthy",
        "redis": "service_started",
    }


def test_its_guide_stops_everything_that_must_not_run_beside_an_upgrade_or_a_restore() -> None:
    guide = (CHECKOUT / "docs/operations/production.md").read_text()
    stopped = re.findall(r"^docker compose stop (.+)$", guide, re.MULTILINE)
    assert len(stopped) == 2
    # The consumer runs on demand alone; the guide says so.
    assert {tuple(each.split()) for each in stopped} == {PLATFORM[1:-1]}
    named = set(re.findall(r"^docker compose exec (?:-T )?([a-z-]+)", guide, re.MULTILINE))
    assert named <= compose()["services"].keys()
