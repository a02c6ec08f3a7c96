"""Every linter CI runs; all run even when one fails, so that one go shows everything."""

import os
import subprocess
import sys
from pathlib import Path

from fraudsite.dev import throw_away
from fraudsite.dev.home import CHECKOUT
from fraudsite.dev.output import say

BIN = Path(sys.executable).parent
# What Django says of itself: the arguments of manage.py, and the environment it is asked in.
DJANGO: dict[str, tuple[list[str], dict[str, str]]] = {
    "migration drift": (["makemigrations", "--check", "--dry-run", "--skip-checks"], {}),
    "deployment checklist": (["check", "--deploy", "--fail-level", "WARNING"], {"BEHIND_TLS": "1"}),
}


def lint() -> int:
    failed = [name for name, command in _commands().items() if not _passes(name, command)]
    with throw_away.running() as servers:
        failed += [
            name
            for name, (arguments, values) in DJANGO.items()
            if not _passes(name, [sys.executable, "manage.py", *arguments], servers.environment | values)
        ]
    say(f"Failed: {', '.join(failed)}" if failed else "Every linter passed.")
    return 1 if failed else 0


def write_format(paths: list[str]) -> int:
    """Everything, or the paths given."""
    fixed = subprocess.call([f"{BIN}/ruff", "check", "--fix", "--quiet", *(paths or ["."])], cwd=CHECKOUT)
    return subprocess.call([f"{BIN}/ruff", "format", *(paths or ["."])], cwd=CHECKOUT) or fixed


def _commands() -> dict[str, list[str]]:
    scripts = sorted(map(str, (CHECKOUT / "deploy").glob("*.sh")))
    return {
        "ruff check": [f"{BIN}/ruff", "check", "--output-format", "concise", "."],
        "ruff format": [f"{BIN}/ruff", "format", "--check", "."],
        "mypy": [f"{BIN}/mypy"],
        "import-linter": [f"{BIN}/lint-imports"],
        "compose schema": [
            f"{BIN}/check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml",
        ],
        "hadolint": [f"{BIN}/hadolint", "--failure-threshold", "warning", "Dockerfile"],
        "shellcheck": [f"{BIN}/shellcheck", ".ci/run", *scripts],
    }  # fmt: skip


def _passes(name: str, command: list[str], values: dict[str, str] | None = None) -> bool:
    answer = subprocess.run(
        command, cwd=CHECKOUT, env=os.environ | (values or {}), capture_output=True, text=True, check=False
    )
    say(f"{'✓' if answer.returncode == 0 else '✗'} {name}")
    if answer.returncode != 0:
        say((answer.stdout + answer.stderr).rstrip())
    return answer.returncode == 0
