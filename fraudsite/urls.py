"""The top of the URLs: each app brings its own `urls.urlpatterns`, served under /api/v1/."""

from importlib import import_module

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerSplitView

from fraudsite import health
from fraudsite.api.schema_view import SchemaView
from reporting.metrics import metrics

# Addresses are compared one after another: that of payments is first.
API_APPS = ("screening", "ingestion", "rules", "reporting")
API_URLS = [pattern for app in API_APPS for pattern in import_module(f"{app}.urls").urlpatterns]

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", include(API_URLS)),
    path("", RedirectView.as_view(pattern_name="admin:index", permanent=False)),
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("metrics", metrics, name="metrics"),
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("admin/", admin.site.urls),
]
# Outside a view DRF's handler is not asked: Django's own errors are problem documents as well.
handler400 = "fraudsite.api.problems.bad_request"
handler403 = "fraudsite.api.problems.permission_denied"
handler404 = "fraudsite.api.problems.not_found"
handler500 = "fraudsite.api.problems.server_error"
