"""A publish waits for the decisions in flight, and what counters each ruleset keeps is remembered."""

from django.db import migrations, models

# The lock is the one that screening_fence() holds shared (fraudsite/locks.py FENCE_LOCK): once a publish returns,
# every decision made with an older ruleset is committed, and none can be stored any more.
WAIT = """
CREATE FUNCTION screening_publish_waits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7021001);
    RETURN NEW;
END
$$;
CREATE TRIGGER screening_publish_waits BEFORE INSERT ON rules_rulesetversion
    FOR EACH STATEMENT EXECUTE FUNCTION screening_publish_waits();
"""
UNWAIT = """
DROP TRIGGER screening_publish_waits ON rules_rulesetversion;
DROP FUNCTION screening_publish_waits();
"""


class Migration(migrations.Migration):
    dependencies = [("screening", "0002_fence")]
    operations = [
        migrations.CreateModel(
            name="RulesetCounters",
            fields=[
                ("ruleset", models.BigIntegerField(primary_key=True, serialize=False)),
                ("since", models.JSONField()),
            ],
        ),
        migrations.RunSQL(WAIT, UNWAIT),
    ]
