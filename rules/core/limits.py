"""How large a rule may be. Everything beyond is refused on save, naming the path."""

from __future__ import annotations

from decimal import Decimal

MAX_NAME_LENGTH = 120
MAX_RULE_TYPE_LENGTH = 40
MAX_DESCRIPTION_LENGTH = 2_000
MAX_REASON_LENGTH = 500
MAX_SIGNAL_LENGTH = 64
MAX_DEPTH = 8
MAX_COMPARISONS = 200
MAX_AGGREGATES = 50
MAX_FILTERS = 20
MAX_GROUP_FIELDS = 5
MAX_ACTIONS = 20
MAX_LIST_VALUES = 1_000
MAX_TEXT_LENGTH = 1_000
MAX_PATTERN_LENGTH = 500
MAX_METADATA_PATH_LENGTH = 200
MAX_METADATA_DEPTH = 10
MAX_PRIORITY = 1_000_000
MAX_LAST = 1_000
MAX_BUCKETS = 400
MAX_WINDOW_DAYS = 3_650
MAX_NUMBER = Decimal(10) ** 15
MAX_DECIMALS = 10

# Of more keys that are not known it is only said how many.
UNKNOWN_KEYS_TOLD = 20

# Median, Benford's law and filters that refer to the screened event read the events one by one. An evaluator
# reads at most this many of them (the newest) and reports an evaluation that would need more as failed.
MAX_SCANNED_EVENTS = 100_000

MIN_BENFORD_VALUES = 50
SIGNIFICANT_DIGITS = 12
DEFAULT_HORIZON_US = 10 * 60 * 1_000_000
DEFAULT_SIMILARITY = Decimal(85)
