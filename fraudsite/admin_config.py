"""Makes the workspace's site the one that `admin.site` and `@admin.register` mean."""

from django.contrib.admin.apps import AdminConfig


class WorkspaceAdminConfig(AdminConfig):
    default_site = "fraudsite.admin_site.WorkspaceSite"
