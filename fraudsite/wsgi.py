import os

from django.core.cache import close_caches
from django.core.signals import request_finished
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")

# A connection to the cache goes back to its pool by itself: there is nothing to close after each request.
request_finished.disconnect(close_caches)
application = get_wsgi_application()
# Every view's module now, before the workers fork, not at the first request of each.
_ = get_resolver().url_patterns
