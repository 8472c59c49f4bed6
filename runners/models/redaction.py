"""Rules by which secrets are redacted, and how often they were."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.models.runner import Runner
from runners.models.session import Session
from runners.redaction import BUILT_IN
from runners.states import TranscriptKind


class RedactionRule(models.Model):
    """A rule of one's own, or a switch for one that comes with Stratavore: that has no pattern here."""

    name = models.SlugField(max_length=40, unique=True, help_text="Small letters, digits, _: it is shown in the text.")
    pattern = models.CharField(
        max_length=1000, blank=True, help_text="RE2's syntax. With groups, the first that matched is the secret."
    )
    is_active = models.BooleanField(default=True)
    note = models.CharField(max_length=200, blank=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_built_in(self) -> bool:
        return not self.pattern

    @property
    def words(self) -> str:
        """What it finds, for people."""
        return next((rule.what for rule in BUILT_IN if rule.name == self.name), self.pattern)


class Redaction(models.Model):
    """A secret that was redacted in what a runner left. What it was is kept nowhere."""

    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="redactions")
    session = models.ForeignKey(Session, on_delete=models.CASCADE, null=True, related_name="redactions")
    kind = models.CharField(max_length=10, choices=TranscriptKind)
    rule = models.CharField(max_length=40)
    fingerprint = models.PositiveSmallIntegerField(help_text="12 bits that tell secrets of a rule apart.")
    places = models.PositiveIntegerField(help_text="How often it stood there.")
    first_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(name="redaction_once", fields=["runner", "kind", "rule", "fingerprint"]),
            models.CheckConstraint(name="redaction_kind_known", condition=Q(kind__in=TranscriptKind.values)),
        ]

    def __str__(self) -> str:
        return f"{self.rule} in {self.places} places"
