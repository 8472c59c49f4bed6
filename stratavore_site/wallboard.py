"""GET /api/v1/status/: the whole of it on one page."""

from typing import Any

from django.db.models import Count, Max, Min, Q
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents.models import Agent
from agents.states import AgentStatus
from outbox.models import Entry
from outbox.states import Status
from runners.models import Node, Project, Runner
from runners.states import ProjectStatus
from stratavore_site.problems import all_problems


class NodeSlotsSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    status = serializers.CharField()
    occupied = serializers.IntegerField()
    slots = serializers.IntegerField()
    last_seen_at = serializers.DateTimeField(allow_null=True)


class OutboxStatusSerializer(serializers.Serializer[Any]):
    pending = serializers.IntegerField(help_text="Not delivered yet.")
    dead = serializers.IntegerField(help_text="Given up; staff may retry them.")
    lag_seconds = serializers.FloatField(help_text="Age of the oldest that is not delivered yet; 0: there is none.")
    sequence = serializers.IntegerField(help_text="Where the event stream stands.")


class ProblemKindSerializer(serializers.Serializer[Any]):
    type = serializers.CharField()
    status = serializers.IntegerField()
    title = serializers.CharField()
    remedy = serializers.CharField()


class StatusSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    runners = serializers.DictField(child=serializers.IntegerField(), help_text="Runners by status, 0 included.")
    agents = serializers.DictField(child=serializers.IntegerField(), help_text="Agents by status, 0 included.")
    projects = serializers.DictField(child=serializers.IntegerField(), help_text="Projects by status, 0 included.")
    nodes = NodeSlotsSerializer(many=True)
    outbox = OutboxStatusSerializer()


class StatusView(APIView):
    @extend_schema(tags=["status"], summary="Show everything a wallboard needs", responses=StatusSerializer)
    def get(self, request: Request) -> Response:
        """Counts by status, nodes with their slots, and how far behind the outbox is."""
        status = {
            "at": timezone.now(),
            "runners": Runner.objects.counts_by_status(),
            "agents": _counts(Agent, AgentStatus.values),
            "projects": _counts(Project, ProjectStatus.values),
            "nodes": Node.objects.with_occupied().order_by("name"),
            "outbox": _outbox(),
        }
        return Response(StatusSerializer(status).data)


class ProblemsView(APIView):
    @extend_schema(
        tags=["status"], summary="List the problems an answer may be", responses=ProblemKindSerializer(many=True)
    )
    def get(self, request: Request) -> Response:
        """Refusals are application/problem+json (RFC 9457); `type` is one of these, for good."""
        return Response(ProblemKindSerializer(all_problems(), many=True).data)


def _counts(model: Any, statuses: list[str]) -> dict[str, int]:
    found = dict(model.objects.order_by().values_list("status").annotate(n=Count("pk")))
    return {status: found.get(status, 0) for status in statuses}


def _outbox() -> dict[str, Any]:
    # Only undelivered rows are counted: their indexes stay small however long the history grows.
    open_rows = Entry.objects.exclude(status=Status.DELIVERED).aggregate(
        pending=Count("pk", filter=Q(status=Status.PENDING)),
        dead=Count("pk", filter=Q(status=Status.DEAD)),
        oldest=Min("created_at", filter=Q(status=Status.PENDING)),
    )
    oldest = open_rows.pop("oldest")
    lag = max((timezone.now() - oldest).total_seconds(), 0.0) if oldest else 0.0
    sequence = Entry.objects.aggregate(last=Max("sequence"))["last"] or 0
    return {**open_rows, "lag_seconds": round(lag, 3), "sequence": sequence}
