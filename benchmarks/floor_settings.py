"""The platform's settings with nothing but one plain view: the floor that the real endpoint is held against."""

from fraudsite.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.floor_urls"
MIDDLEWARE = []
WSGI_APPLICATION = "benchmarks.floor_wsgi.application"
