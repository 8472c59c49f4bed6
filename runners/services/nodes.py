"""What a node agent says of its node."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from runners.models import Node
from runners.sql import database_now
from runners.states import NodeStatus


@transaction.atomic
def register_node(
    name: str,
    *,
    hostname: str,
    boot_id: str,
    version: str,
    slots: int,
    labels: Sequence[str],
    programs: Mapping[str, Any],
    engine: Mapping[str, str] | None = None,
    control_group: Mapping[str, Any] | None = None,
    credentials: Mapping[str, str] | None = None,
) -> Node:
    """Enter the node, or bring what is known of it up to date. A draining node stays draining."""
    node, _ = Node.objects.select_for_update().get_or_create(
        name=name, defaults={"hostname": hostname, "boot_id": boot_id}
    )
    node.hostname, node.boot_id, node.version = hostname, boot_id, version
    node.slots, node.labels, node.programs = slots, list(labels), dict(programs)
    node.engine = dict(engine or {})
    node.control_group, node.credentials = dict(control_group or {}), dict(credentials or {})
    node.last_seen_at = database_now()
    if node.status != NodeStatus.DRAINING:
        node.status = NodeStatus.ONLINE
    node.full_clean(validate_unique=False)
    node.save()
    return node


def heartbeat_node(name: str) -> datetime | None:
    """Note that the node's agent is there, and return the time; None if the node is not known.

    The time is the database's: a node whose clock is wrong is neither silent nor ahead of the others.
    """
    now = database_now()
    Node.objects.filter(name=name, status=NodeStatus.OFFLINE).update(status=NodeStatus.ONLINE)
    return now if Node.objects.filter(name=name).update(last_seen_at=now) else None
