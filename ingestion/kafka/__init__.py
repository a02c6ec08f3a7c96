"""Transactions and events over Kafka: what topics carry, reading them exactly enough, and where bad messages go."""
