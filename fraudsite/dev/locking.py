"""`make lock`: the exact, hashed trees of the two requirements files."""

import subprocess
import sys
from pathlib import Path

from fraudsite.dev.home import CHECKOUT
from fraudsite.dev.output import refuse, step

BIN = Path(sys.executable).parent


def lock() -> int:
    """Runtime first; development keeps its versions, so that both environments agree."""
    for kind, constraint in (("", []), ("-dev", ["-c", "requirements.lock"])):
        source, target = f"requirements{kind}.txt", CHECKOUT / f"requirements{kind}.lock"
        with step(target.name):
            target.write_text(_header(source) + _compiled(source, constraint))
    return 0


def _header(source: str) -> str:
    return f"# Made by `make lock`: the exact, hashed tree of {source} for Python 3.11 to 3.13.\n"


def _compiled(source: str, constraint: list[str]) -> str:
    command = [f"{BIN}/uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-header", "--no-config", "--quiet", *constraint, source]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        refuse(f"uv found no set of versions for {source}: {answer.stderr.strip()[:300]}")
    return answer.stdout
