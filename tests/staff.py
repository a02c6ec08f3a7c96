"""Members of staff for tests: logged in, with the roles they are given."""

from __future__ import annotations

import re
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import Client

from fraudsite.roles import roles_install


def staff(name: str = "ada", *roles: str, is_superuser: bool = False) -> User:
    """Groups are made again where a test before emptied all tables."""
    roles_install(apps)
    user = User.objects.create_user(
        name, password="a long enough pass phrase", is_staff=True, is_superuser=is_superuser
    )
    user.groups.set(Group.objects.filter(name__in=roles))
    return user


class StaffClient(Client):
    """A browser logged in as somebody with these roles; `principal` is what the record names."""

    def __init__(self, name: str = "ada", *roles: str, is_superuser: bool = False) -> None:
        super().__init__()
        self.user = staff(name, *roles, is_superuser=is_superuser)
        self.principal = f"user:{name}"
        self.force_login(self.user)

    def page(self, path: str, **query: Any) -> str:
        """The page's HTML; it must be there."""
        response = self.get(path, query)
        assert response.status_code == 200, (path, response.status_code, response.content[:500])
        return response.content.decode()


def messages_of(response: HttpResponse) -> str:
    """What the page after a redirect says in its messages."""
    return " ".join(str(each) for each in response.context["messages"])


def seen_in(html: str) -> str:
    """What a form says was seen when it was opened (fraudsite/unchanged_form.py)."""
    found = re.search(r'<input type="hidden" name="seen" value="([0-9a-f]+)"', html)
    assert found is not None
    return found[1]
