"""What the pages show of providers' limits."""

from datetime import datetime
from typing import Any

from dashboard import figures
from runners.models import ProviderLimit, Runner
from runners.services.provider_limits import limits_in_force, waiting_for
from runners.sql import database_now


def limit_rows() -> list[dict[str, Any]]:
    """Return the limits that hold now, the one that ends first first, each with who waits for it."""
    holding = sorted(limits_in_force().values(), key=lambda limit: limit.until)
    now = database_now()
    return [_row(limit, now) for limit in holding]


def _row(limit: ProviderLimit, now: datetime) -> dict[str, Any]:
    return {
        "id": limit.pk,
        "label": limit.label,
        "until": figures.instant(limit.until),
        "left": figures.seconds((limit.until - now).total_seconds()),
        "is_told": limit.is_told,
        "note": limit.note,
        "waiting": waiting_for(limit).count(),
    }


def waits_for_provider(runner: Runner) -> bool:
    """Say whether the runner waits for a provider's limit, so that it may be started anyway."""
    return "waits: provider limit" in runner.reason and (runner.status == "queued" or runner.restart_at is not None)
