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
CREATE = """
CREATE TABLE IF NOT EXISTS benchmark_floor (
    id bigserial PRIMARY KEY, transaction_id text UNIQUE, user_id text, account_id text, counterparty_account_id text,
    amount numeric, currency text, transaction_type text, channel text, merchant_id text, merchant_category text,
    merchant_name text, country_code text, latitude numeric, longitude numeric, ip_address text, device_id text,
    card_id text, status text, metadata jsonb, occurred_at timestamptz
);
CREATE INDEX IF NOT EXISTS benchmark_floor_user ON benchmark_floor (user_id, occurred_at);
"""
INSERT = f"INSERT INTO benchmark_floor ({','.join(COLUMNS)}) VALUES ({','.join(['%s'] * len(COLUMNS))})"  # noqa: S608
SCRIPT = """
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('PEXPIRE', KEYS[1], 90000000)
return redis.call('ZCOUNT', KEYS[1], ARGV[4], ARGV[1])
"""
_client: redis.Redis | None = None


def client() -> redis.Redis:
    global _client
    if _client is None:
        _client = redis.Redis.from_url(settings.REDIS_URL, max_connections=64)
    return _client


def screen(request: HttpRequest) -> HttpResponse:
    payment = orjson.loads(request.body)
    now_us = int(time.time() * 1_000_000)
    with client().pipeline(transaction=False) as pipeline:
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
    return HttpResponse(
        orjson.dumps({"transaction_id": payment["transaction_id"], "counts": counts}),
        content_type="application/json",
        status=201,
    )


urlpatterns = [path("transactions/", screen)]
