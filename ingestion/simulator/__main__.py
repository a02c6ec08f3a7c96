"""`python -m ingestion.simulator`: the simulator alone, its settings from the environment."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser

from ingestion.simulator.commandline import add_arguments, run
from ingestion.simulator.config import SimulatorConfigError


def main() -> int:
    parser = ArgumentParser(prog="python -m ingestion.simulator", description=__doc__)
    add_arguments(parser)
    try:
        run(parser.parse_args(), os.environ, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    except (SimulatorConfigError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
