"""One supervised process, what was wanted of it, and what was last seen of it."""

import uuid

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.models.node import Node
from runners.models.project import Project
from runners.models.session import Session
from runners.querysets import RunnerQuerySet
from runners.states import (
    TERMINAL,
    Activity,
    ApprovalMode,
    ConversationMode,
    Isolation,
    OnLimit,
    RestartPolicy,
    RunnerStatus,
    WorktreeEnd,
)


class Runner(models.Model):
    """One process of a backend on a node. Its status is written by transitions.move() alone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80, help_text="For people: demo-3f9c.")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="runners")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="runners", null=True, blank=True)
    session = models.ForeignKey(Session, on_delete=models.SET_NULL, related_name="runners", null=True, blank=True)

    # What was asked for.
    backend = models.CharField(max_length=40)
    runtime = models.CharField(max_length=20, default="process")
    image = models.CharField(max_length=300, blank=True, help_text="For runtime container: what it is made of.")
    network = models.CharField(max_length=64, blank=True, help_text="For runtime container; empty: none.")
    container_user = models.CharField(
        max_length=40, blank=True, help_text="For runtime container: uid or uid:gid; empty: the workspace's owner."
    )
    argv = models.JSONField(default=list, blank=True, help_text="The command itself, for backend `command`.")
    prompt = models.TextField(blank=True)
    model = models.CharField(max_length=100, blank=True)
    flags = models.JSONField(
        default=list, blank=True, help_text="Extra flags for the program, each allowed by its backend."
    )
    environment = models.JSONField(default=dict, blank=True)
    workspace = models.CharField(max_length=1024, help_text="Absolute working directory.")
    isolation = models.CharField(
        max_length=10,
        choices=Isolation,
        default=Isolation.NONE,
        help_text="In a worktree, the workspace's counterpart.",
    )
    worktree_end = models.CharField(max_length=10, choices=WorktreeEnd, default=WorktreeEnd.KEEP)
    approvals = models.CharField(
        max_length=4,
        choices=ApprovalMode,
        default=ApprovalMode.DENY,
        help_text="What becomes of what its program may not do by itself.",
    )
    conversation_mode = models.CharField(max_length=10, choices=ConversationMode, default=ConversationMode.NEW)
    fork_anchor = models.CharField(
        max_length=100,
        blank=True,
        help_text="Of a fork: the program's own id of the place where it begins; empty: the end.",
    )
    grace_seconds = models.PositiveIntegerField(default=10, help_text="From SIGINT to SIGKILL when stopped.")
    labels = models.JSONField(default=list, blank=True, help_text="Its node must have all of these.")
    limits = models.JSONField(default=dict, blank=True, help_text="Asked for; none is looser than the project's.")
    priority = models.SmallIntegerField(default=0, help_text="Of two that wait, the higher one starts first.")
    on_limit = models.CharField(
        max_length=6, choices=OnLimit, default=OnLimit.REFUSE, help_text="When quota, nodes or its provider are full."
    )
    credential = models.CharField(
        max_length=40, blank=True, help_text="Fingerprint of an account of its own; empty: its node's."
    )
    ignores_limit = models.BooleanField(default=False, help_text="Its next start does not wait for its provider.")
    restart_policy = models.CharField(max_length=10, choices=RestartPolicy, default=RestartPolicy.NEVER)
    max_restarts = models.PositiveSmallIntegerField(default=3, help_text="Within RESTART_WINDOW; then it stays ended.")
    agent_name = models.CharField(max_length=60, blank=True, help_text="The agent for which it works, if any.")
    personality_name = models.CharField(max_length=40, blank=True, help_text="That agent's personality, if any.")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    # Where it stands.
    status = models.CharField(max_length=12, choices=RunnerStatus, default=RunnerStatus.STARTING)
    status_changed_at = models.DateTimeField(default=timezone.now)
    generation = models.PositiveIntegerField(default=1, help_text="The attempt; a message of an older one is refused.")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    exit_code = models.SmallIntegerField(null=True, blank=True)
    exit_signal = models.SmallIntegerField(null=True, blank=True)
    reason = models.CharField(max_length=200, blank=True, help_text="Why it ended, or why it is where it is.")
    held_at = models.DateTimeField(
        null=True, blank=True, help_text="When a budget had it paused; it goes on by itself."
    )
    held_reason = models.CharField(max_length=200, blank=True)
    restart_at = models.DateTimeField(null=True, blank=True, help_text="When it is started again; ended runners only.")

    limits_in_force = models.JSONField(default=dict, blank=True, help_text="What the present attempt started with.")

    resumed = models.BooleanField(
        default=False, help_text="Its present attempt goes on in the session of the one before."
    )

    # A process is known by boot, pid and start time together; a pid alone is never trusted.
    boot_id = models.CharField(max_length=36, blank=True)
    pid = models.PositiveIntegerField(null=True, blank=True)
    process_started_at = models.CharField(max_length=32, blank=True, help_text="Start time in clock ticks since boot.")

    objects = RunnerQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(name="runner_status_known", condition=Q(status__in=RunnerStatus.values)),
            models.CheckConstraint(name="runner_approvals_known", condition=Q(approvals__in=ApprovalMode.values)),
            models.CheckConstraint(name="runner_on_limit_known", condition=Q(on_limit__in=OnLimit.values)),
            models.CheckConstraint(name="runner_isolation_known", condition=Q(isolation__in=Isolation.values)),
            models.CheckConstraint(name="runner_worktree_end_known", condition=Q(worktree_end__in=WorktreeEnd.values)),
            models.CheckConstraint(
                name="runner_ended_at_iff_terminal",
                condition=Q(status__in=sorted(TERMINAL), ended_at__isnull=False)
                | (~Q(status__in=sorted(TERMINAL)) & Q(ended_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="runner_node_unless_queued",
                condition=Q(node__isnull=False) | Q(status__in=[RunnerStatus.QUEUED, RunnerStatus.TERMINATED]),
            ),
            models.CheckConstraint(
                name="runner_restart_at_only_when_ended",
                condition=Q(restart_at__isnull=True) | Q(status__in=sorted(TERMINAL)),
            ),
            models.CheckConstraint(
                name="runner_restart_policy_known", condition=Q(restart_policy__in=RestartPolicy.values)
            ),
        ]
        indexes = [
            models.Index(name="runner_open", fields=["project", "status"], condition=~Q(status__in=sorted(TERMINAL))),
            models.Index(name="runner_on_node", fields=["node"], condition=~Q(status__in=sorted(TERMINAL))),
            models.Index(name="runner_newest", fields=["-created_at"]),
            models.Index(
                name="runner_queued", fields=["-priority", "created_at"], condition=Q(status=RunnerStatus.QUEUED)
            ),
            models.Index(name="runner_restart_due", fields=["restart_at"], condition=Q(restart_at__isnull=False)),
            models.Index(name="runner_by_status", fields=["status", "-created_at"]),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def aggregate(self) -> str:
        """Its name in the outbox: events of one runner keep their order."""
        return f"runner:{self.pk}"

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL


class Attempt(models.Model):
    """One life of a runner, from its start to its end. A restart makes the next one: generation + 1."""

    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="attempts")
    generation = models.PositiveIntegerField()
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="+", null=True)
    session = models.ForeignKey(Session, on_delete=models.SET_NULL, related_name="+", null=True)
    placed_at = models.DateTimeField(default=timezone.now, help_text="When it was given a slot.")
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    status = models.CharField(max_length=12, choices=RunnerStatus)
    exit_code = models.SmallIntegerField(null=True, blank=True)
    exit_signal = models.SmallIntegerField(null=True, blank=True)
    reason = models.CharField(max_length=200, blank=True)

    resumed = models.BooleanField(default=False, help_text="It went on in the session of the one before.")

    # Where its telemetry stood when the next attempt began: a lost node may tell the rest when it is back.
    telemetry_offset = models.BigIntegerField(default=0)
    parser_state = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    refused_records = models.PositiveIntegerField(default=0, help_text="Told after the next attempt had begun.")
    fenced_at = models.DateTimeField(null=True, blank=True, help_text="When it was found alive beside its successor.")

    class Meta:
        ordering = ["generation"]
        constraints = [models.UniqueConstraint(name="attempt_once", fields=["runner", "generation"])]

    def __str__(self) -> str:
        return f"attempt {self.generation}: {self.status}"


class RunnerMove(models.Model):
    """One change of a runner's status: its history."""

    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="moves")
    generation = models.PositiveIntegerField()
    from_status = models.CharField(max_length=12, choices=RunnerStatus, blank=True)
    to_status = models.CharField(max_length=12, choices=RunnerStatus)
    actor = models.CharField(max_length=100, help_text="user:<name>, token:<name> or system:<part>.")
    reason = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.from_status or 'new'} > {self.to_status}"


class Observation(models.Model):
    """What the node agent last saw of a runner's process. Apart from Runner: it is written every second, in bulk."""

    runner = models.OneToOneField(Runner, on_delete=models.CASCADE, primary_key=True, related_name="observation")
    generation = models.PositiveIntegerField()
    observed_at = models.DateTimeField(default=timezone.now)
    cpu_percent = models.FloatField(default=0, help_text="Of one core, over the whole process tree.")
    memory_mb = models.FloatField(default=0, help_text="Resident memory of the whole process tree.")
    process_count = models.PositiveIntegerField(default=0)
    output_bytes = models.BigIntegerField(default=0)
    telemetry_offset = models.BigIntegerField(default=0, help_text="Bytes of telemetry.jsonl already in the database.")
    parser_state = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    activity = models.CharField(max_length=16, choices=Activity, blank=True, help_text="What the program is about.")
    activity_until = models.DateTimeField(null=True, blank=True, help_text="When the provider's limit ends, if told.")
    activity_note = models.CharField(max_length=200, blank=True, help_text="What it asks for, or the provider's words.")
    activity_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.cpu_percent:.0f} % cpu, {self.memory_mb:.0f} MB"
