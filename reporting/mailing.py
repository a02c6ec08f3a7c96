"""Sending a report to people, as PDF and XLSX. A mail server that is away does not lose the report: it is kept."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence

from django.core.mail import EmailMessage

from reporting.models import Report
from reporting.report_cells import provenance
from reporting.report_files import FORMATS, file_name, report_content


def report_mail(*, report: Report, recipients: Sequence[str]) -> bool:
    """True if the mail server took it; else what it said is kept with the report."""
    figures = report.figures
    lines = [
        f"{figures['title']}, {figures['period']}",
        "",
        *(f"{label}: {value}" for label, value in provenance(report)),
    ]
    message = EmailMessage(subject=lines[0], body="\n".join(lines), to=list(recipients))
    for wanted in ("pdf", "xlsx"):
        message.attach(file_name(report, wanted), report_content(report, wanted), FORMATS[wanted])
    try:
        message.send()
    except (smtplib.SMTPException, OSError) as error:
        Report.objects.filter(pk=report.pk).update(mail_error=f"{type(error).__name__}: {error}"[:500])
        return False
    Report.objects.filter(pk=report.pk).update(mailed_to=", ".join(recipients), mail_error="")
    return True
