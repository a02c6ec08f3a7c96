"""Addresses under /api/v1/ of figures, reports and the audit trail."""

from django.urls import path

from reporting import api

urlpatterns = [
    path("reports/kpis/", api.KpisView.as_view(), name="kpis"),
    path("reports/hourly-trend/", api.HourlyTrendView.as_view(), name="hourly-trend"),
    path("reports/merchant-exposure/", api.MerchantExposureView.as_view(), name="merchant-exposure"),
    path("reports/channel-risk/", api.ChannelRiskView.as_view(), name="channel-risk"),
    path("reports/rule-performance/", api.RulePerformanceView.as_view(), name="rule-performance"),
    path("reports/", api.ReportListView.as_view(), name="reports"),
    path("reports/<uuid:report_id>/download/", api.ReportDownloadView.as_view(), name="report-download"),
    path("audit/", api.AuditView.as_view(), name="audit"),
]
