"""Who wrote what a version goes on from cannot approve it either; like its author, they never change."""

import django.contrib.postgres.fields
from django.db import migrations, models


FUNCTION = """
CREATE OR REPLACE FUNCTION rules_ruleversion_is_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'rule versions are never deleted' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (NEW.rule_id, NEW.number, NEW.definition, NEW.rule_type, NEW.priority, NEW.is_active, NEW.authored_by,
        %(new)sNEW.change_note, NEW.created_at)
       IS DISTINCT FROM
       (OLD.rule_id, OLD.number, OLD.definition, OLD.rule_type, OLD.priority, OLD.is_active, OLD.authored_by,
        %(old)sOLD.change_note, OLD.created_at)
       OR (OLD.needs_approval AND NOT NEW.needs_approval)
    THEN
        RAISE EXCEPTION 'a rule version never changes; make a new one'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('rules', '0003_versions_are_immutable'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='ruleversion',
            name='rule_version_author_is_not_approver',
        ),
        migrations.AddField(
            model_name='ruleversion',
            name='co_authors',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=160), blank=True, default=list, help_text='who wrote what this one goes on from and nobody has approved yet', size=None),
        ),
        migrations.RunSQL(
            FUNCTION % {"new": "NEW.co_authors, ", "old": "OLD.co_authors, "}, FUNCTION % {"new": "", "old": ""}
        ),
        migrations.AddConstraint(
            model_name='ruleversion',
            constraint=models.CheckConstraint(condition=models.Q(('needs_approval', False), models.Q(('state', 'live'), _negated=True), models.Q(('reviewed_by__isnull', False), models.Q(('reviewed_by', models.F('authored_by')), _negated=True), models.Q(('co_authors__contains', [models.F('reviewed_by')]), _negated=True)), _connector='OR'), name='rule_version_author_is_not_approver'),
        ),
    ]
