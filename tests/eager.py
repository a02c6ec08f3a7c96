"""Tasks done where they are handed over, by whoever hands them over, instead of by a worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from fraudsite.celery import app


@contextmanager
def tasks_done_at_once() -> Iterator[None]:
    app.loader.import_default_modules()

    def done(name: str, args: Sequence[Any] = (), **_options: Any) -> None:
        app.tasks[name].apply(args)

    with mock.patch.object(app, "send_task", done):
        yield
