"""What writes the audit trail and keeps it as it was written: triggers, which an owner of the tables can turn off."""

from __future__ import annotations

from django.db import connection

_ROW = ("audit_row",)
# Those that migrations put on each table.
TRIGGERS: dict[str, tuple[str, ...]] = {
    "auth_group": _ROW,
    "auth_group_permissions": _ROW,
    "auth_user": _ROW,
    "auth_user_groups": _ROW,
    "auth_user_user_permissions": _ROW,
    "axes_accessattempt": (
        "audit_row_named",
        "audit_row_named_deleted",
        "audit_row_unnamed",
        "audit_row_unnamed_deleted",
    ),
    "axes_accesslog": _ROW,
    "django_celery_beat_crontabschedule": _ROW,
    "django_celery_beat_intervalschedule": _ROW,
    "django_celery_beat_periodictask": _ROW,
    "fraudsite_apikey": _ROW,
    "fraudsite_savedfilter": _ROW,
    "ingestion_exchangerate": _ROW,
    "ingestion_importjob": _ROW,
    "ingestion_label": _ROW,
    "ingestion_retiredtransaction": ("retired_only_added_to",),
    "ingestion_retirementrun": _ROW,
    "ingestion_transaction": ("audit_row", "audit_row_deleted"),
    "otp_static_staticdevice": _ROW,
    "otp_totp_totpdevice": _ROW,
    "reporting_auditentry": ("audit_never_emptied", "audit_only_added_to"),
    "reporting_report": ("audit_row", "report_never_emptied", "report_only_added_to"),
    "rules_namedlist": _ROW,
    "rules_namedlistentry": _ROW,
    "rules_rule": _ROW,
    "rules_rulesetversion": _ROW,
    "rules_ruleversion": ("audit_row", "rules_ruleversion_immutable"),
    "screening_alert": _ROW,
    "screening_backtest": _ROW,
    "screening_case": _ROW,
    "screening_caseentry": _ROW,
    "screening_casenote": _ROW,
    "screening_screeningbatch": _ROW,
    "screening_snooze": _ROW,
    "screening_webhook": _ROW,
    "screening_webhookdelivery": _ROW,
}
_IN_FORCE = """
SELECT c.relname, t.tgname, t.tgenabled IN ('O', 'A') FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND pg_table_is_visible(c.oid)
"""


def triggers_missing() -> list[str]:
    """Each as "trigger of table is gone" or "… is turned off"; empty where all are in force."""
    with connection.cursor() as cursor:
        cursor.execute(_IN_FORCE)
        is_on = {(table, trigger): on for table, trigger, on in cursor.fetchall()}
    wanted = [(table, trigger) for table, triggers in TRIGGERS.items() for trigger in triggers]
    return [
        f"{trigger} of {table} is {'turned off' if (table, trigger) in is_on else 'gone'}"
        for table, trigger in wanted
        if not is_on.get((table, trigger), False)
    ]
