#!/usr/bin/env python3
"""Django's commands. Next to a running `make run` they use its database and Redis."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")
    from fraudsite.dev import environment

    environment.adopt_running_stack()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
