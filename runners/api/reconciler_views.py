"""What the reconciler found and did."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from runners.api.permissions import ActPermissions
from runners.models import ReconcilerFinding, ReconcilerRound
from runners.services.reconcile import reconcile
from runners.services.reconciler_rules import rules


class ReconcilerRuleSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    sentence = serializers.CharField(help_text="What it mends.")
    place = serializers.CharField(help_text="Where it runs.")
    found_last_day = serializers.IntegerField(help_text="How often it had something to do in 24 hours.")
    last_found_at = serializers.DateTimeField(allow_null=True)


class RoundSerializer(serializers.ModelSerializer[ReconcilerRound]):
    class Meta:
        model = ReconcilerRound
        fields = ["place", "at"]


class ReconcilerSerializer(serializers.Serializer[Any]):
    rules = ReconcilerRuleSerializer(many=True)
    rounds = RoundSerializer(many=True, help_text="When each place last looked.")


class FindingSerializer(serializers.ModelSerializer[ReconcilerFinding]):
    runner_id = serializers.UUIDField(allow_null=True)
    node = serializers.CharField(source="node.name", allow_null=True, default=None)

    class Meta:
        model = ReconcilerFinding
        fields = ["id", "rule", "place", "runner_id", "node", "name", "found", "done", "at"]


class ActedSerializer(serializers.Serializer[Any]):
    acted = serializers.DictField(child=serializers.IntegerField(), help_text="Rule to how often it acted.")


@extend_schema(tags=["reconciler"])
class ReconcilerViewSet(viewsets.GenericViewSet[ReconcilerFinding]):
    """Compares what is wanted with what is seen, every 30 s, and mends the difference."""

    serializer_class = FindingSerializer
    permission_classes = [ActPermissions]
    filterset_class = None
    act_permissions = {"run": "runners.change_node"}

    def get_queryset(self) -> QuerySet[ReconcilerFinding]:
        return ReconcilerFinding.objects.select_related("node").order_by("-at", "-pk")

    @extend_schema(operation_id="reconciler_show", summary="Show the rules and when they last ran",
                   responses=ReconcilerSerializer)  # fmt: skip
    def list(self, request: Request) -> Response:
        return Response(ReconcilerSerializer({"rules": rules(), "rounds": ReconcilerRound.objects.all()}).data)

    @extend_schema(summary="List what was found and done, newest first", responses=FindingSerializer(many=True))
    @action(detail=False, methods=["get"])
    def findings(self, request: Request) -> Response:
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(FindingSerializer(page, many=True).data)

    @extend_schema(
        operation_id="reconciler_run",
        summary="Run the control plane's rules now",
        request=None,
        responses=ActedSerializer,
    )
    @action(detail=False, methods=["post"], pagination_class=None)
    def run(self, request: Request) -> Response:
        """Those of the nodes run there, every 5 s."""
        return Response(ActedSerializer({"acted": reconcile()}).data)
