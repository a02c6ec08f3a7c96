"""What a process of the platform costs before it does anything: every worker, command and restart pays it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fraudsite.dev import virtual_environment
from fraudsite.dev.home import CHECKOUT

# Each takes longer to import than Django, and most processes never need it.
LATER = (
    "duckdb",
    "pyarrow",
    "numpy",
    "adbc_driver_manager",
    "fpdf",
    "xlsxwriter",
    "qrcode",
    "confluent_kafka",
)


def said_by_a_process(code: str) -> str:
    """What a Python of its own prints: here the tests have imported much already."""
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "fraudsite.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.mark.parametrize("module", ["fraudsite.wsgi", "fraudsite.celery, django; django.setup()"])
def test_it_imports_what_only_some_need_when_it_is_needed(module: str) -> None:
    code = f"import {module}; import sys; print(*sorted(set({LATER}) & set(sys.modules)))"
    answer = said_by_a_process(code)
    assert answer.strip() == ""


def test_a_worker_knows_every_task_that_beat_sends() -> None:
    code = (
        "import django; django.setup()\n"
        "from django.conf import settings\n"
        "from fraudsite.celery import app\n"
        "app.loader.import_default_modules()\n"
        "sent = {entry['task'] for entry in settings.CELERY_BEAT_SCHEDULE.values()}\n"
        "print(len(sent), *sorted(sent - set(app.tasks)))"
    )
    answer = said_by_a_process(code)
    count, *unknown = answer.split()
    assert int(count) > 10
    assert unknown == []


def test_it_keeps_bytecode_elsewhere_where_it_may_not_lie_beside_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    virtual_environment.keep_bytecode(tmp_path)
    source = tmp_path / "module.py"
    source.write_text("")
    assert subprocess.run([sys.executable, "-c", "import module"], cwd=tmp_path, check=False).returncode == 0
    assert list((tmp_path / "bytecode").rglob("module.*.pyc"))
    assert not (tmp_path / "__pycache__").exists()


def test_it_leaves_bytecode_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    virtual_environment.keep_bytecode(tmp_path)
    assert "PYTHONPYCACHEPREFIX" not in os.environ
