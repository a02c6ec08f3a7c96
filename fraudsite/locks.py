"""Numbers of the PostgreSQL advisory locks, in one place so that no two meanings share one."""

# Held shared by every statement that stores a decision (screening_fence), exclusively while what decisions are made
# with changes: a publish, a switch between Redis and SQL windows.
FENCE_LOCK = 7021001
# Held by whoever brings counters back to Redis, so that one process does.
VELOCITY_SWITCH_LOCK = 7021003
# Held by whoever fills counters ahead of time.
VELOCITY_FILL_LOCK = 7021004
# Held by the one process that works the outbox off.
OUTBOX_LOCK = 7021005
# Held by the one process that lets old transactions leave.
RETIREMENT_LOCK = 7021006
# Held by a batch from looking which alerts were opened before until its own are committed.
BATCH_ALERTS_LOCK = 7021007
# Held for a moment at the end of every transaction that changes an audited row: orders the audit trail's chain
# (written as a number in reporting's trigger).
AUDIT_LOCK = 7021010
