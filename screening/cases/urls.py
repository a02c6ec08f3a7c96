"""Addresses under /api/v1/."""

from django.urls import path

from screening.cases import api

urlpatterns = [
    path("cases/", api.CaseListView.as_view(), name="cases"),
    path("cases/bulk/", api.CasesBulkView.as_view(), name="cases-bulk"),
    path("cases/<uuid:case_id>/", api.CaseView.as_view(), name="case"),
    path("cases/<uuid:case_id>/assign/", api.CaseAssignView.as_view(), name="case-assign"),
    path("cases/<uuid:case_id>/note/", api.CaseNoteView.as_view(), name="case-note"),
    path("cases/<uuid:case_id>/transition/", api.CaseTransitionView.as_view(), name="case-transition"),
    path("cases/<uuid:case_id>/dispose/", api.CaseDisposeView.as_view(), name="case-dispose"),
]
