"""JSON lines on standard error, each with the request's or task's id.

A payment is followed by its `transaction_id`: the web server's lines about it carry it, `transaction_accepted` says
that it waits for a worker, `transaction_decided` what was decided and by which process. A task carries the
`request_id` of the request that asked for it.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from django.http import HttpRequest, HttpResponse

SLOW_REQUEST_S = 1.0
TRANSACTIONS = "fraudsite.transactions"
_ACCEPTABLE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_SHARED_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
]


def configuration(*, level: str) -> dict[str, Any]:
    """Django's LOGGING: structlog's and the standard library's records leave in the same form."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED_PROCESSORS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED_PROCESSORS,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(default=str),
                ],
            },
            "lines": {"()": LineFormatter},
        },
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": "json"},
            "lines": {"class": "logging.StreamHandler", "formatter": "lines"},
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            TRANSACTIONS: {"handlers": ["lines"], "level": level, "propagate": False},
            # Django's own handlers would mail and print in another form.
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            # Every refused request would be a second line beside ours.
            "django.request": {"level": "ERROR"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            # Of each PDF's fonts, every table that is left out: 75 lines a report.
            "fontTools": {"level": "WARNING"},
        },
    }


class LineFormatter(logging.Formatter):
    """A record whose message is the line's fields already."""

    def format(self, record: logging.LogRecord) -> str:
        return orjson.dumps(record.msg, default=str).decode()


def transactions_log(event: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """A line for each row, past structlog's chain: a hot path writes one for every payment."""
    logger = logging.getLogger(TRANSACTIONS)
    if not logger.isEnabledFor(logging.INFO):
        return
    shared = {
        "event": event,
        **structlog.contextvars.get_contextvars(),
        "level": "info",
        "logger": TRANSACTIONS,
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    # One for all: it is written before the next line is put into it.
    record = logger.makeRecord(TRANSACTIONS, logging.INFO, "", 0, shared, (), None)
    for row in rows:
        record.msg = {**shared, **row}
        logger.handle(record)


def about_transaction(transaction_id: str) -> None:
    """Whatever else this request logs is about this payment."""
    structlog.contextvars.bind_contextvars(transaction_id=transaction_id)


class RequestLogMiddleware:
    """Give each request an id (the client's X-Request-ID where it is sane), answer with it, log what stands out.

    A line for every request costs more than screening one rule, so only refused, failed and slow ones are logged.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.logger = structlog.get_logger("fraudsite.request")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.monotonic()
        request_id = request.META.get("HTTP_X_REQUEST_ID", "")
        if not _ACCEPTABLE_REQUEST_ID.fullmatch(request_id):
            request_id = os.urandom(16).hex()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        self._log(request, response.status_code, time.monotonic() - started)
        return response

    def _log(self, request: HttpRequest, status: int, took_s: float) -> None:
        if status < 400 and took_s < SLOW_REQUEST_S:
            return
        level = logging.ERROR if status >= 500 and status != 503 else logging.WARNING
        self.logger.log(
            level,
            "request",
            method=request.method,
            path=request.path,
            status=status,
            took_ms=round(took_s * 1000, 1),
        )
