"""Addresses under /api/v1/."""

from django.urls import path

from rules import api, list_api, version_api

urlpatterns = [
    path("rules/", api.RuleListView.as_view(), name="rules"),
    path("rules/validate/", api.RuleValidateView.as_view(), name="rule-validate"),
    path("rules/<int:rule_id>/", api.RuleView.as_view(), name="rule"),
    path("rules/<int:rule_id>/diff/", version_api.RuleDiffView.as_view(), name="rule-diff"),
    path(
        "rules/<int:rule_id>/rollback/<int:number>/",
        version_api.RuleRollbackView.as_view(),
        name="rule-rollback",
    ),
    path("rules/<int:rule_id>/versions/", version_api.RuleVersionListView.as_view(), name="rule-versions"),
    path(
        "rules/<int:rule_id>/versions/<int:number>/",
        version_api.RuleVersionView.as_view(),
        name="rule-version",
    ),
    *(
        path(
            f"rules/<int:rule_id>/versions/<int:number>/{action}/",
            view.as_view(),
            name=f"rule-version-{action}",
        )
        for action, view in (
            ("submit", version_api.VersionSubmitView),
            ("approve", version_api.VersionApproveView),
            ("reject", version_api.VersionRejectView),
            ("shadow", version_api.VersionShadowView),
            ("retire", version_api.VersionRetireView),
        )
    ),
    path("lists/", list_api.NamedListListView.as_view(), name="lists"),
    path("lists/<str:name>/", list_api.NamedListView.as_view(), name="list"),
    path("lists/<str:name>/entries/", list_api.EntryListView.as_view(), name="list-entries"),
    path("lists/<str:name>/entries/<int:entry_id>/", list_api.EntryView.as_view(), name="list-entry"),
]
