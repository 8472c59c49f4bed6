"""Take a node out of service, and back in."""

from datetime import timedelta

from django.utils import timezone

from runners.models import Node
from runners.states import NodeStatus

#: A node agent reports every second; one heard of so recently is there.
FRESH = timedelta(seconds=15)


def drain_node(node: Node) -> Node:
    """Let the node take no new runners; those it has go on. Idempotent."""
    Node.objects.filter(pk=node.pk).update(status=NodeStatus.DRAINING)
    node.refresh_from_db()
    return node


def undrain_node(node: Node) -> Node:
    """Let a draining node take runners again; without sign of its agent it is offline until there is one."""
    here = node.last_seen_at is not None and node.last_seen_at > timezone.now() - FRESH
    # Compare-and-set: only a draining node changes.
    Node.objects.filter(pk=node.pk, status=NodeStatus.DRAINING).update(
        status=NodeStatus.ONLINE if here else NodeStatus.OFFLINE
    )
    node.refresh_from_db()
    return node
