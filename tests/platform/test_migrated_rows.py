"""A test that empties every table leaves the next one what the migrations had put there."""

import pytest
from django.contrib.auth.models import Group
from django_celery_beat.models import PeriodicTask

from fraudsite.roles import ROLES

# Both, because pytest-django runs transactional tests last.
pytestmark = pytest.mark.django_db(transaction=True)


def test_it_empties_the_tables_in_the_end() -> None:
    Group.objects.create(name="of a test")


def test_it_finds_roles_and_schedules_in_the_next_test() -> None:
    assert set(Group.objects.values_list("name", flat=True)) == set(ROLES)
    assert PeriodicTask.objects.filter(task="reporting.report").count() == 3
