"""The fence that every real-time decision passes in the statement that stores it; see screening/velocity/fence.py."""

from django.db import migrations

# Volatile on purpose: each SELECT inside takes a fresh snapshot after the lock is held, so a decision either
# commits before a switch of mode begins or sees the new epoch. The shared lock is held until its commit; the
# switch takes it exclusively and therefore waits for every decision that passed under the old epoch.
FENCE = """
CREATE FUNCTION screening_fence(
    decision_epoch bigint, decision_ruleset bigint, OUT epoch bigint, OUT mode text, OUT ruleset bigint, OUT passed boolean
) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7021001);
    SELECT s.epoch, s.mode INTO epoch, mode FROM screening_velocitystate s WHERE s.id = 1;
    SELECT coalesce(max(r.number), 0) INTO ruleset FROM rules_rulesetversion r;
    passed := epoch = decision_epoch AND ruleset = decision_ruleset;
END
$$;
INSERT INTO screening_velocitystate (id, epoch, mode, changed_at) VALUES (1, 1, 'sql', now());
"""


class Migration(migrations.Migration):
    dependencies = [("screening", "0001_initial"), ("rules", "0001_initial")]
    operations = [migrations.RunSQL(FENCE, "DROP FUNCTION screening_fence(bigint, bigint);")]
