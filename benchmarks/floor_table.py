"""The one table of the floor: keys as ours has, without anything that screening adds."""

CREATE = """
CREATE TABLE IF NOT EXISTS benchmark_floor (
    id bigserial PRIMARY KEY, transaction_id text UNIQUE, user_id text, account_id text, counterparty_account_id text,
    amount numeric, currency text, transaction_type text, channel text, merchant_id text, merchant_category text,
    merchant_name text, country_code text, latitude numeric, longitude numeric, ip_address text, device_id text,
    card_id text, status text, metadata jsonb, occurred_at timestamptz
);
CREATE INDEX IF NOT EXISTS benchmark_floor_user ON benchmark_floor (user_id, occurred_at);
"""
