"""A machine that runs runners."""

from django.db import models
from django.db.models import Q

from runners.querysets import NodeQuerySet
from runners.states import NodeStatus


class Node(models.Model):
    """A machine with a node agent and a Celery worker on queue `node.<name>`."""

    name = models.SlugField(max_length=63, unique=True)
    hostname = models.CharField(max_length=253)
    boot_id = models.CharField(max_length=36, help_text="The kernel's boot id: a reboot ends every process.")
    version = models.CharField(max_length=30, blank=True)
    labels = models.JSONField(default=list, blank=True)
    slots = models.PositiveIntegerField(default=32, help_text="Runners it takes at once.")
    programs = models.JSONField(default=dict, blank=True, help_text="Agent programs found: {backend: {path, version}}.")
    credentials = models.JSONField(
        default=dict,
        blank=True,
        help_text="Fingerprints of its programs' accounts: {backend: fingerprint}.",
    )
    engine = models.JSONField(
        default=dict, blank=True, help_text="Container engine found: {name, version, rootless}; empty: none."
    )
    control_group = models.JSONField(
        default=dict, blank=True, help_text="cgroup v2 that its runners get: {path, controllers, kill}; empty: none."
    )
    status = models.CharField(max_length=10, choices=NodeStatus, default=NodeStatus.OFFLINE)
    registered_at = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField(null=True, blank=True)

    objects = NodeQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [models.CheckConstraint(name="node_status_known", condition=Q(status__in=NodeStatus.values))]

    def __str__(self) -> str:
        return self.name

    @property
    def queue(self) -> str:
        """The broker queue that this node's worker serves."""
        return f"node.{self.name}"

    @property
    def engine_label(self) -> str:
        """Its container engine for people: podman 4.3.1; empty where there is none."""
        return f"{self.engine['name']} {self.engine['version']}" if self.engine else ""

    @property
    def limits_label(self) -> str:
        """Say by what means runners are held to their limits here."""
        if not self.control_group:
            return "measured by the shim"
        held = self.control_group.get("controllers") or []
        kernel = f"{' and '.join(held)} by the kernel, the rest " if held else ""
        return f"{kernel}measured by the shim, ended as a control group"
