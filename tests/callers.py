"""Callers of the API for tests."""

from typing import Any

from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient


def make_user(username: str = "ada", *permissions: str, **fields: Any) -> User:
    """Make a user who has these permissions: "runners.add_runner". Without a password: hashing one takes 0.3 s."""
    user = User.objects.create_user(username, **fields)
    for name in permissions:
        app, codename = name.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return user


def client_of(user: User | None = None) -> APIClient:
    """Return a client that is signed in as `user` by session."""
    client = APIClient()
    if user:
        client.force_login(user)
    return client


def operator() -> APIClient:
    """Return a client that may do everything."""
    return client_of(make_user("operator", is_superuser=True, is_staff=True))


def reader() -> APIClient:
    """Return a client that has no permission at all."""
    return client_of(make_user("reader"))
