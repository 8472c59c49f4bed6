"""The tokens of the API."""

from django.db import models
from django.utils import timezone
from knox.models import AbstractAuthToken


class AccessToken(AbstractAuthToken):  # type: ignore[misc]  # knox has no types
    """A named token of a user. Only a digest is kept: the token itself is shown once."""

    name = models.CharField(max_length=40, help_text="What it is for; shown in the history of what it did.")

    class Meta:
        ordering = ["-created"]
        constraints = [models.UniqueConstraint(name="access_token_name_once", fields=["user", "name"])]

    def __str__(self) -> str:
        return f"{self.user}/{self.name}"

    @property
    def is_expired(self) -> bool:
        return self.expiry is not None and self.expiry < timezone.now()
