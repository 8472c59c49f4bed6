"""Gauges of the outbox, read from the database at each scrape."""

from collections.abc import Iterable

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from outbox import sql

#: Counting stops here: whoever watches knows enough by then.
COUNT_LIMIT = 100_000

log = structlog.get_logger(__name__)


class OutboxCollector(Collector):
    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return nothing: otherwise registering would already ask the database."""
        return []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        try:
            pending, dead, lag = backlog()
        except DatabaseError as error:
            # Other metrics are still worth having; what is not known is left out, not shown as 0.
            log.warning("outbox_metrics_unavailable", error=str(error))
            return
        yield _gauge("pending", "Entries waiting for delivery (at most 300,000 are counted).", pending)
        yield _gauge("dead", "Entries given up after all their attempts (at most 100,000 are counted).", dead)
        yield _gauge("lag_seconds", "Age of the oldest entry waiting for delivery; 0 when none waits.", lag)


def backlog() -> tuple[int, int, float]:
    """Return how many entries wait, how many are dead, and the age in seconds of the oldest that waits."""
    with connection.cursor() as cursor:
        cursor.execute(sql.BACKLOG, {"limit": COUNT_LIMIT, "lanes": settings.OUTBOX_LANES})
        pending, dead, lag = cursor.fetchone() or (0, 0, None)
    return pending, dead, max(0.0, float(lag or 0))


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"stratavore_outbox_{name}", documentation, value=value)


REGISTRY.register(OutboxCollector())
