"""The floor: a plain Django view that decodes a payment, makes one velocity round trip of five group values, inserts
one row with a commit, and answers. No authentication, no rules, no evidence, no framework on top.

Each group value is one call of the smallest script that is atomic: add, trim, count one window, keep it alive.
"""

from __future__ import annotations

import time

import orjson
import redis
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

GROUPS = ("user_id", "account_id", "card_id", "device_id", "merchant_id")
COLUMNS = (
    "transaction_id",
    "user_id",
    "account_id",
    "counterparty_account_id",
    "amount",
    "currency",
    "transaction_type",
    "channel",
    "merchant_id",
    "merchant_category",
    "merchant_name",
    "country_code",
    "latitude",
    "longitude",
    "ip_address",
    "device_id",
    "card_id",
    "status",
    "metadata",
    "occurred_at",
)
INSERT = f"INSERT INTO benchmark_floor ({','.join(COLUMNS)}) VALUES ({','.join(['%s'] * len(COLUMNS))})"
SCRIPT = """
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('PEXPIRE', KEYS[1], 90000000)
return redis.call('ZCOUNT', KEYS[1], ARGV[4], ARGV[1])
"""
# Connects at its first use, in the process that uses it.
client = redis.Redis.from_url(settings.REDIS_URL, max_connections=64)


def screen(request: HttpRequest) -> HttpResponse:
    payment = orjson.loads(request.body)
    now_us = int(time.time() * 1_000_000)
    with client.pipeline(transaction=False) as pipeline:
        for name in GROUPS:
            pipeline.eval(
                SCRIPT,
                1,
                f"floor:{{{name}={payment[name]}}}",
                now_us,
                payment["transaction_id"],
                now_us - 90_000_000_000,
                now_us - 86_400_000_000,
            )
        counts = pipeline.execute()
    values = [orjson.dumps(payment[c]).decode() if c == "metadata" else payment[c] for c in COLUMNS]
    with connection.cursor() as cursor:
        cursor.execute(INSERT, values)
    raw = orjson.dumps({"transaction_id": payment["transaction_id"], "counts": counts})
    # Said by a middleware otherwise, and the floor has none.
    return HttpResponse(
        raw, content_type="application/json", status=201, headers={"Content-Length": str(len(raw))}
    )


urlpatterns = [path("transactions/", screen)]
