import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")

application = get_wsgi_application()
# Every view's module now, before the workers fork, not at the first request of each.
_ = get_resolver().url_patterns
