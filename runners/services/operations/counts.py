"""How far an operation is: counted from its items, so that the counts never drift."""

from django.db.models import Count
from django.utils import timezone

from runners.models import Operation
from runners.states import ItemResult

COUNTED = {ItemResult.DONE: "done", ItemResult.FAILED: "failed", ItemResult.SKIPPED: "skipped"}


def recount(operation: Operation) -> int:
    """Write the operation's counts, and return how many items are still to be done."""
    found = dict(operation.items.order_by().values_list("result").annotate(n=Count("pk")))
    for result, name in COUNTED.items():
        setattr(operation, name, found.get(result, 0))
    operation.progressed_at = timezone.now()
    operation.save(update_fields=[*COUNTED.values(), "progressed_at"])
    return int(found.get(ItemResult.PENDING, 0))
