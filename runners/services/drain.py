"""Take a node out of service, and back in."""

from datetime import timedelta

from django.db import transaction

from runners import acts, events
from runners.models import Node
from runners.sql import database_now
from runners.states import NodeStatus

#: A node agent reports every second; one heard of so recently is there.
FRESH = timedelta(seconds=15)


@transaction.atomic
def drain_node(node: Node, *, actor: str) -> Node:
    """Let the node take no new runners; those it has go on. Idempotent."""
    before = Node.objects.select_for_update().get(pk=node.pk).status
    if before != NodeStatus.DRAINING:
        Node.objects.filter(pk=node.pk).update(status=NodeStatus.DRAINING)
        acts.on_node("drain", node, actor=actor, before={"status": before}, after={"status": NodeStatus.DRAINING})
        events.node_event("node.draining", node, status=NodeStatus.DRAINING, actor=actor)
    node.refresh_from_db()
    return node


@transaction.atomic
def undrain_node(node: Node, *, actor: str) -> Node:
    """Let a draining node take runners again; without sign of its agent it is offline until there is one."""
    here = node.last_seen_at is not None and node.last_seen_at > database_now() - FRESH
    # Compare-and-set: only a draining node changes.
    status = NodeStatus.ONLINE if here else NodeStatus.OFFLINE
    if Node.objects.filter(pk=node.pk, status=NodeStatus.DRAINING).update(status=status):
        acts.on_node("undrain", node, actor=actor, before={"status": NodeStatus.DRAINING}, after={"status": status})
        events.node_event("node.undrained", node, status=status, actor=actor)
    node.refresh_from_db()
    return node
