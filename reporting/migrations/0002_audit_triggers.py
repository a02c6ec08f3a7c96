"""The audit trail is written by triggers at commit, chained by hashes, and refuses to be changed.

The triggers are deferred to the commit: the lock that orders the chain is then taken last, so it cannot make two
transactions wait for each other's rows, and it is held for microseconds.
"""

from django.db import migrations

FUNCTIONS = """
CREATE FUNCTION reporting_audit_row() RETURNS trigger LANGUAGE plpgsql AS $$
-- Arguments: columns whose values are kept as digests only; columns that do not count as a change; the id's column.
DECLARE
    secret text[] := string_to_array(TG_ARGV[0], ',');
    ignored text[] := string_to_array(TG_ARGV[1], ',');
    old_row jsonb; new_row jsonb; old_values jsonb; new_values jsonb; id text; each text;
    last_number bigint; last_digest bytea; actor text; moment timestamptz; body text;
BEGIN
    IF TG_OP <> 'INSERT' THEN old_row := to_jsonb(OLD) - ignored; END IF;
    IF TG_OP <> 'DELETE' THEN new_row := to_jsonb(NEW) - ignored; END IF;
    IF old_row = new_row THEN RETURN NULL; END IF;
    id := coalesce(new_row, old_row) ->> TG_ARGV[2];
    old_values := old_row;
    new_values := new_row;
    IF TG_OP = 'UPDATE' THEN
        SELECT jsonb_object_agg(key, value) INTO old_values FROM jsonb_each(old_row) WHERE new_row -> key IS DISTINCT FROM value;
        SELECT jsonb_object_agg(key, value) INTO new_values FROM jsonb_each(new_row) WHERE old_row -> key IS DISTINCT FROM value;
    END IF;
    FOREACH each IN ARRAY secret LOOP
        IF old_values ->> each IS NOT NULL THEN
            old_values := jsonb_set(old_values, ARRAY[each], to_jsonb('sha256:' || left(encode(sha256(convert_to(old_values ->> each, 'UTF8')), 'hex'), 16)));
        END IF;
        IF new_values ->> each IS NOT NULL THEN
            new_values := jsonb_set(new_values, ARRAY[each], to_jsonb('sha256:' || left(encode(sha256(convert_to(new_values ->> each, 'UTF8')), 'hex'), 16)));
        END IF;
    END LOOP;
    actor := coalesce(
        nullif(current_setting('fraudsite.actor', true), ''),
        'process:' || coalesce(nullif(current_setting('application_name'), ''), session_user)
    );
    -- 7021010 is fraudsite.locks.AUDIT_LOCK. Whoever waits here sees the newest entry afterwards (READ COMMITTED).
    PERFORM pg_advisory_xact_lock(7021010);
    SELECT number, digest INTO last_number, last_digest FROM reporting_auditentry ORDER BY number DESC LIMIT 1;
    moment := clock_timestamp();
    body := jsonb_build_object(
        'number', coalesce(last_number, 0) + 1, 'at', to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'actor', left(actor, 200), 'action', lower(TG_OP), 'table', TG_TABLE_NAME, 'row', coalesce(id, ''),
        'old', old_values, 'new', new_values
    )::text;
    INSERT INTO reporting_auditentry (number, at, actor, action, table_name, row_id, body, digest)
    VALUES (
        coalesce(last_number, 0) + 1, moment, left(actor, 200), lower(TG_OP), TG_TABLE_NAME, left(coalesce(id, ''), 80), body,
        sha256(coalesce(last_digest, ''::bytea) || convert_to(body, 'UTF8'))
    );
    RETURN NULL;
END $$;

CREATE FUNCTION reporting_audit_watch(
    watched text, secret text DEFAULT '', ignored text DEFAULT '', events text DEFAULT 'INSERT OR UPDATE OR DELETE', id_column text DEFAULT 'id'
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TRIGGER IF EXISTS audit_row ON %I', watched);
    EXECUTE format(
        'CREATE CONSTRAINT TRIGGER audit_row AFTER %s ON %I DEFERRABLE INITIALLY DEFERRED '
        'FOR EACH ROW EXECUTE FUNCTION reporting_audit_row(%L, %L, %L)', events, watched, secret, ignored, id_column
    );
END $$;

CREATE FUNCTION reporting_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is only ever added to' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_only_added_to BEFORE UPDATE OR DELETE ON reporting_auditentry
    FOR EACH ROW EXECUTE FUNCTION reporting_audit_refuse();
CREATE TRIGGER report_only_added_to BEFORE DELETE ON reporting_report
    FOR EACH ROW EXECUTE FUNCTION reporting_audit_refuse();
"""

# table: (kept as digests, no change by themselves, events)
ALL = "INSERT OR UPDATE OR DELETE"
WATCHED = {
    "rules_rule": ("", "updated_at", ALL),
    "rules_ruleversion": ("", "", ALL),
    "rules_rulesetversion": ("", "counters", ALL),
    "rules_namedlist": ("", "updated_at", ALL),
    "rules_namedlistentry": ("", "match_key", ALL),
    "fraudsite_apikey": ("digest", "last_used_at", ALL),
    "auth_user": ("password", "last_login", ALL),
    "auth_group": ("", "", ALL),
    "auth_user_groups": ("", "", ALL),
    "auth_user_user_permissions": ("", "", ALL),
    "auth_group_permissions": ("", "", ALL),
    "ingestion_exchangerate": ("", "", ALL),
    "screening_alert": ("", "repeat_count,case_id", "UPDATE OR DELETE"),
    "screening_snooze": ("", "", ALL),
    "screening_case": ("", "alert_count,last_alert_at,version", ALL),
    "screening_casenote": ("", "", ALL),
    "screening_webhook": ("secret", "updated_at", ALL),
    "screening_screeningbatch": ("", "processed_transactions,flagged_transactions,total_transactions", ALL),
    "reporting_report": ("", "figures", ALL),
    "django_celery_beat_periodictask": ("", "last_run_at,total_run_count,date_changed", ALL),
    "django_celery_beat_crontabschedule": ("", "", ALL),
    "django_celery_beat_intervalschedule": ("", "", ALL),
}


def watch(apps, editor):
    for table, (secret, ignored, events) in WATCHED.items():
        id_column = "number" if table == "rules_rulesetversion" else "id"
        editor.execute(
            "SELECT reporting_audit_watch(%s, %s, %s, %s, %s)", [table, secret, ignored, events, id_column]
        )


class Migration(migrations.Migration):
    dependencies = [
        ("reporting", "0001_audit_and_reports"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("fraudsite", "0002_roles"),
        ("ingestion", "0001_initial"),
        ("rules", "0003_versions_are_immutable"),
        ("screening", "0004_alerts_cases_risk_webhooks"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [
        migrations.RunSQL(FUNCTIONS, migrations.RunSQL.noop),
        migrations.RunPython(watch, migrations.RunPython.noop),
    ]
