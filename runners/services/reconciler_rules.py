"""The rules of the reconciler, for people: each by name, with the sentence that says what it mends."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q
from django.utils import timezone

from runners.models import ReconcilerFinding
from runners.services.findings import CONTROL_PLANE
from runners.services.reconcile import RULES

NODES = "each node"
#: Those that need processes to look at run in the node agent.
OF_NODES = {
    "dead_shims": "A shim that died without a word: its attempt's end is recorded as lost, and its agent is ended.",
    "left_containers": "A container of this node whose attempt is over, or has no run directory, is removed.",
    "lost_runners": "A runner of which its node, which answers, has no record is failed, as lost.",
    "runners_found_again": "An unknown runner that is alive on its node is what its shim says.",
    "untold_ends": "An end that its shim recorded, but had no room on the disk to tell, is told.",
    "superseded_attempts": "A live attempt whose runner has ended, is gone or is at a newer attempt is stopped.",
}


@dataclass(frozen=True)
class Rule:
    """A rule, and how often it had something to do."""

    name: str
    sentence: str
    place: str
    found_last_day: int
    last_found_at: datetime | None


def rules() -> list[Rule]:
    """Return all rules in the order in which they run, with what they found."""
    recent = Count("pk", filter=Q(at__gt=timezone.now() - timedelta(days=1)))
    rows = ReconcilerFinding.objects.order_by().values("rule").annotate(recent=recent, last=Max("at"))
    found = {row["rule"]: (row["recent"], row["last"]) for row in rows}
    known = [(rule.__name__, _sentence(rule), CONTROL_PLANE) for rule in RULES]
    known += [(name, sentence, NODES) for name, sentence in OF_NODES.items()]
    return [Rule(name, sentence, place, *found.get(name, (0, None))) for name, sentence, place in known]


def _sentence(rule: Callable[[], int]) -> str:
    """Return the first sentence of a rule's docstring: it is written to be read here."""
    return (inspect.getdoc(rule) or "").partition("\n\n")[0].replace("\n", " ").replace("`", "")
