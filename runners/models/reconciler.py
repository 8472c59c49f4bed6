"""What the reconciler found and did, and when it last looked."""

from django.db import models
from django.utils import timezone

from runners.models.node import Node
from runners.models.runner import Runner


class ReconcilerFinding(models.Model):
    """One difference between what was wanted and what was seen, and what was done about it."""

    rule = models.CharField(max_length=40)
    place = models.CharField(max_length=63, help_text="Who looked: the control plane, or a node by its name.")
    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="findings", null=True)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="findings", null=True)
    name = models.CharField(max_length=200, help_text="Of what it was found.")
    found = models.CharField(max_length=300)
    done = models.CharField(max_length=300)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(name="finding_newest", fields=["-at"]),
            models.Index(name="finding_of_rule", fields=["rule", "-at"]),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.found}"


class ReconcilerRound(models.Model):
    """When the rules of one place were last run."""

    place = models.CharField(max_length=63, primary_key=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["place"]

    def __str__(self) -> str:
        return self.place
