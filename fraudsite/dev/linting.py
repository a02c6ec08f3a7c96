"""Every linter CI runs; all run even when one fails, so that one go shows everything."""

import subprocess
import sys
from pathlib import Path

from fraudsite.dev import throw_away
from fraudsite.dev.home import CHECKOUT
from fraudsite.dev.output import say

BIN = Path(sys.executable).parent


def lint() -> int:
    failed = [name for name, command in _commands().items() if not _passes(name, command)]
    with throw_away.running() as servers:
        command = [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run", "--skip-checks"]
        if not _passes("migration drift", command, servers.environment):
            failed.append("migration drift")
    say(f"Failed: {', '.join(failed)}" if failed else "Every linter passed.")
    return 1 if failed else 0


def write_format(paths: list[str]) -> int:
    """Everything, or the paths given."""
    fixed = subprocess.call([f"{BIN}/ruff", "check", "--fix", "--quiet", *(paths or ["."])], cwd=CHECKOUT)
    return subprocess.call([f"{BIN}/ruff", "format", *(paths or ["."])], cwd=CHECKOUT) or fixed


def _commands() -> dict[str, list[str]]:
    commands = {
        "ruff check": [f"{BIN}/ruff", "check", "--output-format", "concise", "."],
        "ruff format": [f"{BIN}/ruff", "format", "--check", "."],
        "mypy": [f"{BIN}/mypy"],
        "import-linter": [f"{BIN}/lint-imports"],
    }
    compose, dockerfile = CHECKOUT / "docker-compose.yml", CHECKOUT / "Dockerfile"
    if compose.exists():
        commands["compose schema"] = [
            f"{BIN}/check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(compose),
        ]  # fmt: skip
    if dockerfile.exists():
        commands["hadolint"] = [f"{BIN}/hadolint", "--failure-threshold", "warning", str(dockerfile)]
    scripts = [
        str(path)
        for path in (CHECKOUT / ".ci/run", *sorted((CHECKOUT / "deploy").glob("*.sh")))
        if path.exists()
    ]
    if scripts:
        commands["shellcheck"] = [f"{BIN}/shellcheck", *scripts]
    return commands


def _passes(name: str, command: list[str], values: dict[str, str] | None = None) -> bool:
    import os

    answer = subprocess.run(
        command, cwd=CHECKOUT, env=os.environ | (values or {}), capture_output=True, text=True, check=False
    )
    say(f"{'✓' if answer.returncode == 0 else '✗'} {name}")
    if answer.returncode != 0:
        say((answer.stdout + answer.stderr).rstrip())
    return answer.returncode == 0
