"""The command line of the simulator, for `manage.py simulate` and for `python -m ingestion.simulator`."""

from __future__ import annotations

import signal
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ingestion.simulator.config import DEFAULTS, SimulatorConfig, SimulatorConfigError
from ingestion.simulator.delivery import Delivery
from ingestion.simulator.files import write_events
from ingestion.simulator.stream import Simulation
from ingestion.simulator.streaming import LiveStream

# What is read from the settings or the environment beside the simulation's own DEFAULTS.
PLACES: Mapping[str, str] = {"PORT": "8000", "FRAUDSITE_HOME": ".local"}

Say = Callable[[str], None]


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"not an ISO 8601 time: {text!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--stream", action="store_true", help="post to the API in real time")
    parser.add_argument("--count", type=int, help="stop after this many transactions")
    parser.add_argument("--seconds", type=float, help="with --stream: stop after this long")
    parser.add_argument("--out", help="write the transactions as NDJSON (- for standard output)")
    parser.add_argument("--labels", help="with --out: the truth about each transaction, as CSV")
    parser.add_argument("--events", help="with --out: logins, cards, alerts, KYC as NDJSON {kind, payload}")
    parser.add_argument(
        "--history",
        choices=("auto", "no", "yes"),
        default="auto",
        help="the customers' past: auto sends it to a platform that lacks it, and leaves it out of files",
    )
    parser.add_argument("--seed", type=int, help="default: SIMULATOR_SEED")
    parser.add_argument("--customers", type=int, help="default: CUSTOMER_POOL_SIZE")
    parser.add_argument("--rate", type=float, help="transactions a second, default: TRANSACTION_RATE")
    parser.add_argument("--fraud-rate", type=float, help="share of fraud, default: FRAUD_RATE")
    parser.add_argument(
        "--start", type=_moment, help="with --out: first event time (default: ends about now)"
    )
    parser.add_argument("--url", help="with --stream: the service (default: this machine, PORT)")
    parser.add_argument("--key", help="with --stream: the API key (default: in FRAUDSITE_HOME/api-key)")


def run(options: Namespace, values: Mapping[str, object], say: Say) -> None:
    """`values` are the settings by name. Raises SimulatorConfigError for what it cannot do, OSError for files."""
    if options.stream == bool(options.out):
        raise SimulatorConfigError("say either --stream or --out FILE")
    if options.count is not None and options.count < 1:
        raise SimulatorConfigError("--count must be at least 1")
    if options.out and options.count is None:
        raise SimulatorConfigError("--out needs --count")
    if options.stream:
        _stream(options, values, say)
    else:
        _write(options, values, say)


def _config(options: Namespace, values: Mapping[str, object]) -> SimulatorConfig:
    given = {
        "seed": options.seed,
        "customers": options.customers,
        "transaction_rate": options.rate,
        "fraud_rate": options.fraud_rate,
    }
    config = SimulatorConfig.from_values({name: values.get(name) for name in DEFAULTS})
    return replace(config, **{name: value for name, value in given.items() if value is not None})


def _write(options: Namespace, values: Mapping[str, object], say: Say) -> None:
    config = _config(options, values)
    # The newest event may not lie in the future: the API refuses those.
    length = timedelta(seconds=options.count / config.transaction_rate)
    simulation = Simulation(config, options.start or datetime.now(UTC) - length)
    written, fraudulent = write_events(
        simulation,
        count=options.count,
        with_history=options.history == "yes",
        out=options.out,
        labels=options.labels,
        events=options.events,
    )
    say(f"{written} transactions written, {fraudulent} of them fraud")


def _stream(options: Namespace, values: Mapping[str, object], say: Say) -> None:
    # SIGTERM ends it as Ctrl-C does: whatever it is waiting for is dropped at once.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _stream_until_stopped(options, values, say)
    except KeyboardInterrupt:
        say("stopped")


def _stream_until_stopped(options: Namespace, values: Mapping[str, object], say: Say) -> None:
    if _wanted_rate(options, values) == 0:
        say("TRANSACTION_RATE is 0: nothing to stream")
        signal.pause()
        return
    config = _config(options, values)
    delivery = Delivery(
        url=options.url or f"http://127.0.0.1:{values.get('PORT') or PLACES['PORT']}",
        read_key=lambda: options.key or _stored_key(values),
        say=say,
        sleep=time.sleep,
    )
    live = LiveStream(config=config, delivery=delivery, say=say, sleep=time.sleep)
    say(
        f"simulating {config.transaction_rate:g} transactions/s of {config.customers} customers,"
        f" {config.fraud_rate:.0%} fraud, seed {config.seed}, to {delivery.url}"
    )
    try:
        if options.history != "no":
            live.send_history()
        live.play(count=options.count, until_s=options.seconds)
    finally:
        delivery.close()
        live.summarise()


def _wanted_rate(options: Namespace, values: Mapping[str, object]) -> float:
    if options.rate is not None:
        return float(options.rate)
    rate = values.get("TRANSACTION_RATE")
    return float(str(DEFAULTS["TRANSACTION_RATE"] if rate is None or rate == "" else rate))


def _stored_key(values: Mapping[str, object]) -> str | None:
    """The key a run of the platform leaves in its home; None until it has."""
    home = Path(str(values.get("FRAUDSITE_HOME") or PLACES["FRAUDSITE_HOME"]))
    try:
        return (home / "api-key").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
