"""The commands that look at a running stack, through its public API and its files."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fraudsite.dev import binaries, environment, processes, stack, supervisor
from fraudsite.dev import places as placing
from fraudsite.dev.home import CHECKOUT, Home
from fraudsite.dev.output import refuse, say

TIMEOUT_S = 15
SHOWN_ROWS = 10


class Api:
    """The running stack's HTTP API with the key of its home."""

    def __init__(self, home: Home) -> None:
        self.url = running_url(home)
        try:
            self._key = home.api_key.read_text().strip()
        except OSError as error:
            refuse(f"The API key in {home.api_key} cannot be read ({error.strerror}).")

    def request(self, path: str, body: Any = None) -> tuple[int, Any]:
        """The status and the decoded answer (text when it is no JSON)."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Api-Key {self._key}", "Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT_S) as answer:
                return answer.status, _decoded(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _decoded(error.read())
        except OSError as error:
            refuse(f"{self.url} does not answer ({error}).")

    def get(self, path: str, **parameters: object) -> Any:
        """The answer's content, or a refusal that says what the server said."""
        query = urllib.parse.urlencode(
            {name: value for name, value in parameters.items() if value is not None}
        )
        status, content = self.request(f"/api/v1/{path}{'?' + query if query else ''}")
        if status == 404:
            refuse(f"This version of the platform has no {path} yet.")
        if status != 200:
            detail = content.get("detail") if isinstance(content, dict) else content
            refuse(f"GET /api/v1/{path} answered {status}: {str(detail)[:200]}")
        return content


def running_url(home: Home) -> str:
    if home.lock_file.exists() and supervisor.is_running(home):
        words = home.lock_file.read_text().split()
        if len(words) == 2:
            return words[1]
    if os.environ.get("FRAUDSITE_URL", "").strip():
        return os.environ["FRAUDSITE_URL"].strip().rstrip("/")
    refuse(f"Nothing runs on {home.root}; `make run` starts it. (Another copy? Set FRAUDSITE_HOME.)")


def status(home: Home) -> int:
    """Health, processes, queues and counts; exit code 1 when transactions cannot be screened."""
    api = Api(home)
    code, health = api.request("/health/ready")
    say(f"{api.url}: {health['status'] if isinstance(health, dict) else code}")
    for name, check in (health.get("checks", {}) if isinstance(health, dict) else {}).items():
        extra = ", ".join(check["alive"]) if check.get("alive") else check.get("detail", "")
        say(f"  {name:12} {check['status']:8} {check['took_ms']:6.1f} ms  {extra}")
    say("processes")
    for child in stack.remembered(home):
        is_alive = processes.identity(child["pid"]) == child["identity"]
        say(f"  {child['name']:16} pid {child['pid']:<8} {'runs' if is_alive else 'ended'}")
    say("queues")
    for name, waiting in _queues(api).items():
        say(f"  {name:16} {waiting} waiting")
    say("counts")
    for name, path in COUNTED.items():
        answer_code, content = api.request(f"/api/v1/{path}{'&' if '?' in path else '?'}page_size=1")
        if answer_code == 200 and isinstance(content, dict) and "total" in content:
            say(f"  {name:16} {content['total']}")
    return 0 if code == 200 else 1


def _queues(api: Api) -> dict[str, str]:
    """How many tasks wait in each queue; none is named while the broker does not answer."""
    _code, figures = api.request("/metrics")
    return dict(re.findall(r'^fraudsite_queue_depth\{queue="(\w+)"\} (\d+)', str(figures), re.MULTILINE))


COUNTED = {
    "transactions": "transactions/",
    "rules in force": "rules/?is_active=true&state=live",
    "flagged results": "screening/results/?status=flagged&screening_type=real_time",
    "batches": "screening/batches/",
    "alerts": "alerts/",
    "cases": "cases/",
}


def kpis(home: Home) -> int:
    _print_mapping(Api(home).get("reports/kpis/"))
    return 0


def risk(home: Home) -> int:
    content = Api(home).get("risk/accounts/", tier=os.environ.get("TIER") or None, page_size=20)
    _print_table(content["items"], ("account_id", "risk_score", "tier", "signals", "recommended_action"))
    say(f"{content['total']} accounts")
    return 0


def cases(home: Home) -> int:
    content = Api(home).get("cases/", status=os.environ.get("STATUS") or None, page_size=20)
    _print_table(content["items"], ("case_id", "status", "priority", "account_id", "assignee", "opened_at"))
    say(f"{content['total']} cases")
    return 0


def logs(home: Home, arguments: list[str]) -> int:
    """Follow the logs of all processes, or of those named."""
    files = [home.logs / f"{name}.log" for name in arguments] or sorted(home.logs.glob("*.log"))
    missing = [file.stem for file in files if not file.exists()]
    if missing or not files:
        known = ", ".join(sorted(file.stem for file in home.logs.glob("*.log"))) or "none yet"
        refuse(f"No log of {', '.join(missing) or 'any process'} in {home.logs}; there are: {known}.")
    follow = ["-f"] if sys.stdout.isatty() else []
    try:
        return subprocess.call(["tail", "-n", "40", *follow, *map(str, files)])
    except KeyboardInterrupt:
        return 0


def psql(home: Home, arguments: list[str]) -> int:
    values = environment.of_running_stack(home)
    url = os.environ.get("DATABASE_URL", "").strip() or values.get("DATABASE_URL")
    if not url:
        refuse(f"Nothing runs on {home.root}; `make run` starts it. (Another copy? Set FRAUDSITE_HOME.)")
    program = binaries.postgresql().path / "psql"
    command = str(program) if program.exists() else shutil.which("psql")
    if command is None:
        refuse("No psql was found; install PostgreSQL's client.")
    return subprocess.call([command, url, *arguments])


def reset(home: Home) -> int:
    """Wipe data, uploads, mail, logs, key and passwords; the next `make run` builds everything anew."""
    if home.run.exists() and supervisor.is_running(home):
        supervisor.refuse_second_run(home)
    if home.run.exists():
        stack.stop_leftovers(home)
    placing.forget(home)
    for name in ("services", "run", "logs", "static", "uploads", "mail"):
        _remove(home.root / name)
    for name in ("api-key", "admin-password", "secrets.json", "services-folder"):
        (home.root / name).unlink(missing_ok=True)
    say(f"Wiped {home.root}; `make run` builds it anew.")
    return 0


def _remove(folder: Path) -> None:
    if not folder.exists():
        return
    problems: list[str] = []
    shutil.rmtree(folder, onerror=lambda _function, path, _error: problems.append(str(path)))
    if problems:
        refuse(f"{problems[0]} cannot be removed; it belongs to another user.")


def validate(home: Home) -> int:
    """An end-to-end check: each line is one thing that must hold, with what is wrong when it does not."""
    api, failures = Api(home), 0
    for name, check in CHECKS.items():
        started = time.monotonic()
        try:
            problem = check(api)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            problem = f"an answer of another shape than documented ({type(error).__name__}: {error})"
        took_ms = (time.monotonic() - started) * 1000
        failures += problem is not None
        say(f"  {'✗' if problem else '✓'} {name} ({took_ms:.0f} ms){': ' + problem if problem else ''}")
    say(
        "Everything holds."
        if not failures
        else f"{failures} of {len(CHECKS)} checks failed; see `make status`, `make logs`."
    )
    say(
        "Left behind: at most two payments of 12.34, each of an account of its own; their ids begin with validate-."
    )
    return 1 if failures else 0


def _check_ready(api: Api) -> str | None:
    code, content = api.request("/health/ready")
    failed = [name for name, check in content["checks"].items() if check["status"] == "failed"]
    return None if code == 200 else f"answered {code}; not in order: {', '.join(failed)}"


def _check_workers(api: Api) -> str | None:
    alive = api.request("/health/ready")[1]["checks"]["workers"].get("alive", [])
    kinds = supervisor.WORKER_KINDS
    missing = [kind.rstrip("@") for kind in kinds if not any(name.startswith(kind) for name in alive)]
    return f"no heartbeat of the worker for {' and '.join(missing)}" if missing else None


def _check_schema(api: Api) -> str | None:
    code, _content = api.request("/api/schema/")
    return None if code == 200 else f"GET /api/schema/ answered {code}"


def _check_authentication(api: Api) -> str | None:
    request = urllib.request.Request(f"{api.url}/api/v1/transactions/")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return f"a request without a key was answered {answer.status}"
    except urllib.error.HTTPError as error:
        return None if error.code in (401, 403) else f"a request without a key was answered {error.code}"


def _probe_transaction() -> dict[str, Any]:
    """A payment that shares nothing with another: many of one account would be a burst, and somebody's case."""
    name = f"validate-{time.time_ns()}"
    return {
        "transaction_id": name,
        "user_id": name,
        "account_id": name,
        "amount": "12.34",
        "transaction_type": "debit",
        "channel": "web",
    }


def _check_screening(api: Api) -> str | None:
    """A transaction is decided in real time; the same again is replayed, another payload is refused."""
    body = _probe_transaction()
    code, content = api.request("/api/v1/transactions/", body)
    if code != 201:
        return f"POST answered {code}: {_detail(content)}"
    if content["screening"].get("overall_status") is None:
        return "the answer holds no decision"
    if content["screening"].get("degraded"):
        return "it was screened over SQL (degraded): Redis does not serve velocity"
    again_code, again = api.request("/api/v1/transactions/", body)
    if again_code != 200 or again["screening"]["decision_id"] != content["screening"]["decision_id"]:
        return f"the same transaction again was answered {again_code}, not replayed"
    other_code, _other = api.request("/api/v1/transactions/", body | {"amount": "99.99"})
    return (
        None if other_code == 409 else f"the same id with another amount was answered {other_code}, not 409"
    )


def _check_asynchronous(api: Api) -> str | None:
    body = _probe_transaction()
    code, content = api.request("/api/v1/transactions/?mode=async", body)
    if code != 202:
        return f"POST ?mode=async answered {code}: {_detail(content)}"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        _code, content = api.request(f"/api/v1/transactions/{body['transaction_id']}/screening/")
        if isinstance(content, dict) and content.get("overall_status"):
            return None
        time.sleep(0.1)
    return "no worker screened it within 10 s"


def _check_rules(api: Api) -> str | None:
    code, content = api.request("/api/v1/rules/?is_active=true&state=live&page_size=1")
    if code != 200:
        return f"GET rules/ answered {code}: {_detail(content)}"
    return (
        None
        if content["total"] > 0
        else "no rule is in force, so every payment is approved: approve those that wait, or write one; "
        "`manage.py rulepack install` brings the pack's"
    )


def _check_bad_input(api: Api) -> str | None:
    code, content = api.request("/api/v1/transactions/", {"transaction_id": "validate-bad", "amount": "NaN"})
    if not 400 <= code < 500:
        return f"a malformed transaction was answered {code}"
    return None if content.get("errors") else "the problem document names no path"


CHECKS: dict[str, Callable[[Api], str | None]] = {
    "ready": _check_ready,
    "workers alive": _check_workers,
    "a key is required": _check_authentication,
    "API schema": _check_schema,
    "rules in force": _check_rules,
    "a transaction is screened, replayed, protected": _check_screening,
    "a worker screens asynchronously": _check_asynchronous,
    "bad input is refused": _check_bad_input,
}


def bench(arguments: list[str]) -> int:
    program = CHECKOUT / "benchmarks/run.py"
    if not program.exists():
        refuse("There is no benchmarks/run.py in this version.")
    return subprocess.call([sys.executable, "-m", "benchmarks.run", *arguments], cwd=CHECKOUT)


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def _detail(content: Any) -> str:
    if isinstance(content, dict):
        return str(content.get("errors") or content.get("detail") or content)[:200]
    return str(content)[:200]


def _print_mapping(content: dict[str, Any], indent: str = "") -> None:
    """Plain values first, then what is nested; of a list the newest rows as a table."""
    nested = {name: value for name, value in content.items() if isinstance(value, dict | list)}
    for name, value in content.items():
        if name not in nested:
            say(f"{indent}{name:<28} {_cell(value)}")
    for name, value in nested.items():
        say(f"{indent}{name}{'' if value else ': none'}")
        if isinstance(value, dict):
            _print_mapping(value, indent + "  ")
        elif value and isinstance(value[0], dict):
            _print_table(value[-SHOWN_ROWS:], tuple(value[0]), indent + "  ")
        elif value:
            say(f"{indent}  {_cell(value)}")


def _print_table(items: list[dict[str, Any]], columns: tuple[str, ...], indent: str = "") -> None:
    present = [column for column in columns if any(column in item for item in items)]
    rows = [[_cell(item.get(column)) for column in present] for item in items]
    widths = [max(len(row[i]) for row in [present, *rows]) for i in range(len(present))]
    for row in [present, *rows] if rows else []:
        say(indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(
            str(part.get("signal", part)) if isinstance(part, dict) else str(part) for part in value
        )
    return "" if value is None else str(value)
