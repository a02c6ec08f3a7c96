"""Spark where it is installed: the session of this process, or why there is none."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from importlib.util import find_spec
from typing import Any

from django.conf import settings


class SparkUnavailable(Exception):
    """Says what is missing."""


def missing() -> str | None:
    """What Spark lacks on this machine; None when it can start."""
    for name in ("pyspark", "pandas"):
        if find_spec(name) is None:
            return f"{name} is not installed (pip install -r requirements-spark.txt)"
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") is None and not (home and shutil.which("java", path=f"{home}/bin")):
        return "there is no Java (17 or newer) on PATH or in JAVA_HOME"
    return None


def session() -> Any:
    """The session of this process, started when it is first asked for."""
    reason = missing()
    if reason is not None:
        raise SparkUnavailable(f"BATCH_ENGINE is spark, but {reason}.")
    from pyspark.sql import SparkSession

    # It tells every object it lets go of.
    logging.getLogger("py4j").setLevel(logging.WARNING)
    # Executors import the statements from this package, with the settings of this process.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    path = os.pathsep.join(each for each in sys.path if each)
    builder = (
        SparkSession.builder.master(settings.BATCH_SPARK_MASTER)
        .appName("fraudsite")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.adaptive.enabled", "false")
        .config("spark.executorEnv.PYTHONPATH", path)
    )
    if settings.BATCH_SPARK_MASTER.startswith("local"):
        builder = builder.config("spark.driver.host", "127.0.0.1").config(
            "spark.driver.bindAddress", "127.0.0.1"
        )
        os.environ["PYTHONPATH"] = path
    found = builder.getOrCreate()
    found.conf.set("spark.sql.shuffle.partitions", str(parallelism(found)))
    return found


def parallelism(found: Any) -> int:
    """Tasks that run at a time."""
    return max(2, int(found.sparkContext.defaultParallelism))
