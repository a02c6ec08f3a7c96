"""What every format of a report does with what it shows."""

from __future__ import annotations

import re
from typing import Any

from reporting.models import Report

# A table: `title`, `columns`, `rows` of text, and a `note` below it.
Section = dict[str, Any]

# A figure as reports write it.
NUMBER = re.compile(r"-?\d{1,3}(,\d{3})*(\.\d+)?|-?\d+(\.\d+)?")


# Said at the head of every copy: a payment that came in late is in the report of the day it was screened.
COUNTED_BY = (
    "Counted by when payments were screened, alerts raised and cases worked (UTC), "
    "not by when the payments occurred."
)


def provenance(report: Report) -> list[tuple[str, str]]:
    """What every copy says about where it comes from."""
    return [
        ("Report", str(report.report_id)),
        ("Made", f"{report.created_at:%Y-%m-%d %H:%M} UTC by {report.created_by}"),
        ("Digest of the figures", report.figures_digest),
        ("Audit trail when it was made", f"{report.audit_number}:{report.audit_digest}"),
    ]
