"""Operations: look at what one would do, begin it, follow it, cancel it."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from runners.actors import actor_of
from runners.api.filters import OperationFilter, OperationItemFilter
from runners.api.operation_serializers import (
    AskSerializer,
    BeginSerializer,
    OperationItemSerializer,
    OperationSerializer,
    PreviewSerializer,
    VerbSerializer,
)
from runners.models import Operation, OperationItem
from runners.services.operations import all_verbs, begin_operation, cancel_operation, preview, verb_named


@extend_schema_view(
    list=extend_schema(summary="List operations, newest first"), retrieve=extend_schema(summary="Show an operation")
)
@extend_schema(tags=["operations"])
class OperationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Operation]):
    """One verb over everything that matches a filter, in the background, with a result for each item.

    Whoever is signed in may look; to begin or cancel one takes the permission of its verb.
    """

    serializer_class = OperationSerializer
    permission_classes = [IsAuthenticated]
    filterset_class = OperationFilter
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[Operation]:
        return Operation.objects.order_by("-created_at", "-pk")

    @extend_schema(summary="List what operations can do", responses=VerbSerializer(many=True))
    @action(detail=False, methods=["get"], filterset_class=None, pagination_class=None)
    def verbs(self, request: Request) -> Response:
        return Response(VerbSerializer(all_verbs(), many=True).data)

    @extend_schema(
        operation_id="operations_preview",
        summary="Look at what an operation would do",
        request=AskSerializer,
        responses=PreviewSerializer,
    )
    @action(detail=False, methods=["post"], filterset_class=None, pagination_class=None)
    def preview(self, request: Request) -> Response:
        """How many match, and which of them would be skipped and why. Changes nothing."""
        asked = _read(AskSerializer, request)
        shown = preview(asked["verb"], asked["filter"], asked.get("parameters"))
        return Response(PreviewSerializer(shown).data)

    @extend_schema(
        operation_id="operations_begin",
        summary="Begin an operation",
        request=BeginSerializer,
        responses={202: OperationSerializer},
    )
    def create(self, request: Request) -> Response:
        """What matches now is done one by one, in the background; `items/` tells what came of each."""
        asked = _read(BeginSerializer, request)
        _need(request, asked["verb"])
        operation = begin_operation(
            asked["verb"],
            asked["filter"],
            asked.get("parameters"),
            actor=actor_of(request),
            at_most=asked.get("at_most"),
        )
        headers = {"Location": self.reverse_action("detail", args=[operation.pk])}
        return Response(OperationSerializer(operation).data, status=status.HTTP_202_ACCEPTED, headers=headers)

    @extend_schema(
        operation_id="operations_cancel", summary="Cancel an operation", request=None, responses=OperationSerializer
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: UUID) -> Response:
        """What is done stays done; the rest is left alone."""
        operation = self.get_object()
        _need(request, operation.verb)
        return Response(OperationSerializer(cancel_operation(operation.pk, actor=actor_of(request))).data)

    @extend_schema(summary="List an operation's items", responses=OperationItemSerializer(many=True))
    @action(detail=True, methods=["get"], filterset_class=OperationItemFilter)
    def items(self, request: Request, pk: UUID) -> Response:
        found: Any = OperationItem.objects.filter(operation=pk).order_by("pk")
        page = self.paginate_queryset(self.filter_queryset(found))
        return self.get_paginated_response(OperationItemSerializer(page, many=True).data)


def _read(kind: type[AskSerializer], request: Request) -> dict[str, Any]:
    form = kind(data=request.data)
    form.is_valid(raise_exception=True)
    return dict(form.validated_data)


def _need(request: Request, verb: str) -> None:
    wanted = verb_named(verb).permission
    if not request.user.has_perm(wanted):
        raise PermissionDenied(f"That needs the permission {wanted}.")
