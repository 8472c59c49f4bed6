"""A note of an agent to itself about what is to be done."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from agents.models.agent import Agent
from agents.models.job import Job
from agents.states import Priority, TodoStatus


class Todo(models.Model):
    """Something an agent has to do, perhaps as part of a job."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="todos")
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="todos")
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    status = models.CharField(max_length=12, choices=TodoStatus, default=TodoStatus.PENDING)
    priority = models.CharField(max_length=10, choices=Priority, default=Priority.MEDIUM)
    tags = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(name="todo_status_known", condition=Q(status__in=TodoStatus.values)),
            models.CheckConstraint(name="todo_priority_known", condition=Q(priority__in=Priority.values)),
        ]
        indexes = [models.Index(name="todo_of_agent", fields=["agent", "status"])]

    def __str__(self) -> str:
        return self.title
