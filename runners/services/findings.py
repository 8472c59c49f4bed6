"""Keep what the reconciler found and did."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from runners.models import Node, ReconcilerFinding, ReconcilerRound, Runner

CONTROL_PLANE = "control plane"
#: A rule that has to act on the same thing again within this time has found nothing new.
SAME_FINDING = timedelta(minutes=1)


def note(
    rule: str,
    *,
    found: str,
    done: str,
    runner: Runner | None = None,
    node: Node | None = None,
    name: str = "",
    place: str = CONTROL_PLANE,
) -> None:
    """Keep one finding of a rule, in the transaction of what was done about it; the same one again is passed over."""
    name = name or str(runner or node or "")
    now = timezone.now()
    same = ReconcilerFinding.objects.filter(rule=rule, name=name, found=found, at__gt=now - SAME_FINDING)
    if not same.exists():
        ReconcilerFinding.objects.create(
            rule=rule,
            place=place,
            runner=runner,
            node=node,
            name=name[:200],
            found=found[:300],
            done=done[:300],
            at=now,
        )


def note_round(place: str) -> None:
    """Keep that the rules of a place were run."""
    now = timezone.now()
    if not ReconcilerRound.objects.filter(place=place).update(at=now):
        ReconcilerRound.objects.get_or_create(place=place, defaults={"at": now})


def prune_findings() -> int:
    """Delete findings past their time, and return how many."""
    before = timezone.now() - timedelta(days=settings.RECONCILER_FINDINGS_DAYS)
    deleted, _ = ReconcilerFinding.objects.filter(at__lt=before).delete()
    return deleted


def note_attempt(runner_id: UUID, generation: int, *, rule: str, node: str) -> None:
    """Keep what a node agent found of one attempt on its node."""
    found, done = {
        "dead_shims": ("its shim died without a word", "its end is on record as lost"),
        "untold_ends": ("its shim had no room to tell its end", "told"),
        "left_containers": ("its container was left", "removed"),
        "superseded_attempts": ("alive, and not wanted any more", "stopped"),
    }[rule]
    runner = Runner.objects.filter(pk=runner_id).first()
    name = f"{runner.name if runner else runner_id}, attempt {generation}"
    note(rule, runner=runner, name=name, found=found, done=done, place=node)
