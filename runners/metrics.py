"""Gauges of the fleet, read from the database at each scrape: true whichever web process is asked."""

from collections.abc import Iterable
from typing import Any

import structlog
from django.db import DatabaseError
from django.db.models import Count, F, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from runners.models import Budget, Node, Observation, Runner, Session, Transcript
from runners.models.usage import TOKEN_COLUMNS
from runners.services.embedding import progress
from runners.services.standing import standings
from runners.states import OCCUPYING, NodeStatus, TranscriptKind

log = structlog.get_logger(__name__)


class FleetCollector(Collector):
    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return nothing: otherwise registering would already ask the database."""
        return []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        try:
            families = [
                _runners(),
                _runners_by_project(),
                _nodes(),
                *_sessions_and_tokens(),
                *_budgets(),
                *_embedding(),
                *_transcripts(),
            ]
        except DatabaseError as error:
            # Other metrics are still worth having; what is not known is left out, not shown as 0.
            log.warning("fleet_metrics_unavailable", error=str(error))
            return
        yield from families


def _runners() -> GaugeMetricFamily:
    family = GaugeMetricFamily("stratavore_runners_total", "Runners by status.", labels=["status"])
    for status, count in Runner.objects.all().counts_by_status().items():
        family.add_metric([status], count)
    return family


def _runners_by_project() -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "stratavore_runners_by_project", "Runners that have a place, by project.", labels=["project"]
    )
    counts = Runner.objects.occupying().order_by().values_list("project__name").annotate(n=Count("pk"))
    for project, count in counts:
        family.add_metric([project], count)
    return family


def _nodes() -> GaugeMetricFamily:
    family = GaugeMetricFamily("stratavore_nodes", "Nodes by status.", labels=["status"])
    counts = dict(Node.objects.order_by().values_list("status").annotate(n=Count("pk")))
    for status in NodeStatus.values:
        family.add_metric([status], counts.get(status, 0))
    return family


def _sessions_and_tokens() -> Iterable[GaugeMetricFamily]:
    sums: dict[str, Any] = Session.objects.aggregate(
        sessions=Count("pk"), **{column: Sum(column, default=0) for column in TOKEN_COLUMNS}
    )
    yield GaugeMetricFamily("stratavore_sessions_total", "Conversations.", value=sums["sessions"])
    tokens = GaugeMetricFamily("stratavore_tokens_used_total", "Tokens used by all sessions, by kind.", labels=["kind"])
    for column in TOKEN_COLUMNS:
        tokens.add_metric([column.removesuffix("_tokens")], sums[column])
    yield tokens


def _budgets() -> Iterable[GaugeMetricFamily]:
    labels = ["budget", "scope", "scope_key", "unit"]
    used = GaugeMetricFamily("stratavore_budget_used", "Used in the present period, in its unit.", labels=labels)
    limit = GaugeMetricFamily("stratavore_budget_limit", "Its limit now, in its unit.", labels=labels)
    unknown = GaugeMetricFamily(
        "stratavore_budget_unknown_tokens", "Tokens in the present period whose cost nobody knows.", labels=labels
    )
    for standing in standings(Budget.objects.active()):
        budget = standing.budget
        values = [budget.name, budget.scope, budget.scope_key, budget.unit]
        used.add_metric(values, float(standing.used))
        limit.add_metric(values, float(standing.limit))
        unknown.add_metric(values, standing.unknown_tokens)
    return used, limit, unknown


def _embedding() -> Iterable[GaugeMetricFamily]:
    embedded = GaugeMetricFamily("stratavore_passages_embedded", "Passages that have a vector.", labels=["model"])
    waiting = GaugeMetricFamily("stratavore_passages_waiting", "Passages that wait for a vector.", labels=["model"])
    refused = GaugeMetricFamily(
        "stratavore_passages_refused", "Passages that the model refused, tried again or given up.", labels=["model"]
    )
    for found in progress():
        for family, value in ((embedded, found.embedded), (waiting, found.waiting), (refused, found.refused)):
            family.add_metric([found.model.name], value)
    return embedded, waiting, refused


def _transcripts() -> Iterable[GaugeMetricFamily]:
    text = GaugeMetricFamily("stratavore_transcript_text_bytes", "Text of recordings in storage.", labels=["kind"])
    stored = GaugeMetricFamily("stratavore_transcript_stored_bytes", "What they take there.", labels=["kind"])
    kept = Transcript.objects.filter(removed_at__isnull=True).order_by()
    for kind, size, compressed in kept.values_list("kind").annotate(Sum("size_bytes"), Sum("stored_bytes")):
        text.add_metric([kind], size)
        stored.add_metric([kind], compressed)
    yield from (text, stored)
    ended = kept.filter(completed_at__isnull=True).exclude(runner__status__in=OCCUPYING)
    yield GaugeMetricFamily(
        "stratavore_transcripts_incomplete", "Recordings of ended attempts that are not complete.", value=ended.count()
    )
    here = kept.filter(runner=OuterRef("runner"), generation=OuterRef("generation"), kind=TranscriptKind.OUTPUT)
    waiting = Observation.objects.filter(runner__status__in=OCCUPYING).aggregate(
        bytes=Sum(F("output_bytes") - Coalesce(Subquery(here.values("size_bytes")), 0), default=0)
    )
    yield GaugeMetricFamily(
        "stratavore_transcript_backlog_bytes",
        "Output of running attempts that is on their nodes alone.",
        value=max(0, waiting["bytes"]),
    )


REGISTRY.register(FleetCollector())
