"""The Fraud Operations Centre, figures, reports and the audit trail. Each file registers its own pages."""

from reporting.admin import audit, case_files, operations, performance, reports, schedules  # noqa: F401
