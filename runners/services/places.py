"""Where a runner may run: the project's quota and a node's free slot, neither of which can be raced past."""

from typing import Any

from runners.exceptions import NoNodeAvailable, QuotaExceeded
from runners.models import Node, Project, ResourceQuota, Runner
from runners.sql import lock_for_transaction

#: Spaces of the advisory locks, so that a project and a node with the same id do not meet.
PROJECT_LOCK = 7101
NODE_LOCK = 7102


def take_place(project: Project) -> Node:
    """Take a place for one more runner of the project, and return its node. Raises NoPlace."""
    take_quota(project)
    return take_slot()


def take_quota(project: Project) -> None:
    """Raise QuotaExceeded unless the project may have one more runner.

    Holds the project's lock until the transaction ends, so that of two launches for the last place one sees the other.
    """
    lock_for_transaction(PROJECT_LOCK, project.pk)
    limit = quota_of(project)
    used = Runner.objects.filter(project=project).occupying().count()
    if used >= limit:
        raise QuotaExceeded(f"{project.name} has {used} of {limit} runners: its quota is full.", used=used, limit=limit)


def quota_of(project: Project) -> int:
    """Return how many runners the project may have at once."""
    found = ResourceQuota.objects.filter(project=project).values_list("max_concurrent_runners", flat=True).first()
    return ResourceQuota.DEFAULT_MAX_CONCURRENT_RUNNERS if found is None else found


def take_slot() -> Node:
    """Return the online node with the most free slots, or raise NoNodeAvailable.

    The slot is held until the transaction ends.
    """
    for candidate in Node.objects.accepting():
        lock_for_transaction(NODE_LOCK, candidate.pk)
        # Counted again under the lock: another launch may have taken the slot since.
        node = Node.objects.accepting().filter(pk=candidate.pk).first()
        if node is not None:
            return node
    raise NoNodeAvailable(_why_no_node())


def _why_no_node() -> str:
    nodes: list[Any] = list(Node.objects.with_occupied())
    if not nodes:
        return "No node has registered yet: start a node agent (`manage.py nodeagent`)."
    states = ", ".join(
        f"{node.name} is {node.status} with {node.occupied} of {node.slots} slots taken" for node in nodes
    )
    return f"No node has a free slot: {states}."
