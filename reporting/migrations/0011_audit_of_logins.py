"""Who came in, went out and failed to come in is audited too: what django-axes notes of it, without what was typed.

The name of a failed login is what somebody typed, perhaps their pass phrase: unless it is somebody's name, a digest.
"""

from django.db import migrations

# Kept as digests; no change by themselves.
LOGIN = ("session_hash", "http_accept,path_info")
FAILED = "http_accept,path_info,get_data,post_data"

OF_FAILED = f"""
CREATE FUNCTION reporting_is_staff_name(name text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM auth_user WHERE username = name)
$$;
CREATE CONSTRAINT TRIGGER audit_row_named AFTER INSERT OR UPDATE ON axes_accessattempt DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (reporting_is_staff_name(NEW.username))
    EXECUTE FUNCTION reporting_audit_row('', '{FAILED}', 'id');
CREATE CONSTRAINT TRIGGER audit_row_unnamed AFTER INSERT OR UPDATE ON axes_accessattempt DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NOT coalesce(reporting_is_staff_name(NEW.username), false))
    EXECUTE FUNCTION reporting_audit_row('username', '{FAILED}', 'id');
CREATE CONSTRAINT TRIGGER audit_row_named_deleted AFTER DELETE ON axes_accessattempt DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (reporting_is_staff_name(OLD.username))
    EXECUTE FUNCTION reporting_audit_row('', '{FAILED}', 'id');
CREATE CONSTRAINT TRIGGER audit_row_unnamed_deleted AFTER DELETE ON axes_accessattempt DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NOT coalesce(reporting_is_staff_name(OLD.username), false))
    EXECUTE FUNCTION reporting_audit_row('username', '{FAILED}', 'id');
"""
UNDONE = """
DROP TRIGGER audit_row_named ON axes_accessattempt;
DROP TRIGGER audit_row_unnamed ON axes_accessattempt;
DROP TRIGGER audit_row_named_deleted ON axes_accessattempt;
DROP TRIGGER audit_row_unnamed_deleted ON axes_accessattempt;
DROP FUNCTION reporting_is_staff_name(text);
"""


def watch(apps, editor):
    editor.execute("SELECT reporting_audit_watch('axes_accesslog', %s, %s)", LOGIN)


def unwatch(apps, editor):
    editor.execute("DROP TRIGGER audit_row ON axes_accesslog")


class Migration(migrations.Migration):
    dependencies = [
        ("reporting", "0010_audit_of_deletion_by_hand"),
        ("axes", "0009_add_session_hash"),
    ]

    operations = [migrations.RunPython(watch, unwatch), migrations.RunSQL(OF_FAILED, UNDONE)]
