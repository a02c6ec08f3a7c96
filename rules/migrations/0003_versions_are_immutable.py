"""A version's wording, number and author never change, and no version is deleted: held by the database itself."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION rules_ruleversion_is_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'rule versions are never deleted' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (NEW.rule_id, NEW.number, NEW.definition, NEW.rule_type, NEW.priority, NEW.is_active, NEW.authored_by,
        NEW.change_note, NEW.created_at)
       IS DISTINCT FROM
       (OLD.rule_id, OLD.number, OLD.definition, OLD.rule_type, OLD.priority, OLD.is_active, OLD.authored_by,
        OLD.change_note, OLD.created_at)
       OR (OLD.needs_approval AND NOT NEW.needs_approval)
    THEN
        RAISE EXCEPTION 'a rule version never changes; make a new one'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER rules_ruleversion_immutable BEFORE UPDATE OR DELETE ON rules_ruleversion
    FOR EACH ROW EXECUTE FUNCTION rules_ruleversion_is_immutable();
"""
BACKWARD = """
DROP TRIGGER rules_ruleversion_immutable ON rules_ruleversion;
DROP FUNCTION rules_ruleversion_is_immutable();
"""


class Migration(migrations.Migration):
    dependencies = [("rules", "0002_named_lists")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
