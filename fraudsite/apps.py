from django.apps import AppConfig

# Imported here, not in fraudsite/__init__.py: `fraudsite.dev` must start on a Python that has no packages yet,
# and every Django process runs this before the first task is declared.
from fraudsite.celery import app as celery_app

__all__ = ["FraudsiteConfig", "celery_app"]


class FraudsiteConfig(AppConfig):
    name = "fraudsite"
