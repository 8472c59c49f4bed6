"""Providers' limits: which account waits, until when; and end one by hand."""

from typing import Any

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from runners.actors import actor_of
from runners.api.permissions import ActPermissions
from runners.api.strict import StrictSerializer
from runners.models import ProviderLimit
from runners.services.provider_limits import clear_limit
from runners.sql import database_now


class LimitFilter(filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    in_force = filters.BooleanFilter(method="holds", label="true: holds now; false: is over.")

    class Meta:
        model = ProviderLimit
        fields: list[str] = []

    def holds(self, queryset: QuerySet[ProviderLimit], name: str, value: bool) -> QuerySet[ProviderLimit]:
        holding = Q(cleared_at__isnull=True, until__gt=database_now())
        return queryset.filter(holding if value else ~holding)


class ProviderLimitSerializer(serializers.ModelSerializer[ProviderLimit]):
    """What a provider said about one account."""

    in_force = serializers.SerializerMethodField(help_text="Runs of this account wait.")
    runner_id = serializers.UUIDField(allow_null=True, help_text="Whose program was told.")

    class Meta:
        model = ProviderLimit
        fields = [
            "id",
            "credential",
            "label",
            "until",
            "in_force",
            "is_told",
            "hits",
            "note",
            "runner_id",
            "reached_at",
            "cleared_at",
            "cleared_by",
        ]

    def get_in_force(self, limit: ProviderLimit) -> bool:
        return limit.in_force(database_now())


class ClearSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=500, required=False, allow_blank=True)


@extend_schema(tags=["limits"])
class ProviderLimitViewSet(viewsets.GenericViewSet[ProviderLimit]):
    """Limits that providers set, by account."""

    serializer_class = ProviderLimitSerializer
    permission_classes = [ActPermissions]
    filterset_class = LimitFilter
    lookup_value_converter = "int"
    act_permissions = {"clear": "runners.clear_limit"}

    def get_queryset(self) -> QuerySet[ProviderLimit]:
        return ProviderLimit.objects.order_by("-reached_at", "-pk")

    @extend_schema(summary="List providers' limits, newest first", responses=ProviderLimitSerializer(many=True))
    def list(self, request: Request) -> Response:
        page: Any = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(ProviderLimitSerializer(page, many=True).data)

    @extend_schema(summary="Show a provider's limit", responses=ProviderLimitSerializer)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(ProviderLimitSerializer(self.get_object()).data)

    @extend_schema(summary="End a limit by hand", request=ClearSerializer, responses=ProviderLimitSerializer)
    @action(detail=True, methods=["post"], filterset_class=None, pagination_class=None)
    def clear(self, request: Request, pk: int) -> Response:
        """Whoever waits for it starts at once. Harmless if it is over."""
        form = ClearSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        reason = form.validated_data.get("reason", "")
        return Response(
            ProviderLimitSerializer(clear_limit(self.get_object().pk, actor=actor_of(request), reason=reason)).data
        )
