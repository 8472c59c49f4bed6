"""Notification targets over HTTP: for staff."""

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from outbox.actors import actor_of
from outbox.api.notification_serializers import (
    NewTargetSerializer,
    NotificationSerializer,
    TargetChangeSerializer,
    TargetSerializer,
    valid,
)
from outbox.api.permissions import ActPermissions
from outbox.models import Notification, NotificationTarget
from outbox.services.targets import delete_target, save_target, send_again, try_target
from outbox.states import NotificationStatus

CHANGE = "outbox.change_notificationtarget"


@extend_schema_view(
    list=extend_schema(summary="List notification targets"),
    retrieve=extend_schema(summary="Show a notification target"),
)
@extend_schema(tags=["notifications"])
class NotificationTargetViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[NotificationTarget]
):
    """Where people are told of events, through Apprise."""

    serializer_class = TargetSerializer
    permission_classes = [ActPermissions]
    read_permission = "outbox.view_notificationtarget"
    act_permissions = {
        "create": "outbox.add_notificationtarget",
        "partial_update": CHANGE,
        "destroy": "outbox.delete_notificationtarget",
        "test": CHANGE,
    }
    lookup_field = "name"
    lookup_value_converter = "slug"
    queryset = NotificationTarget.objects.prefetch_related("rules").order_by("name")

    @extend_schema(summary="Create a target", request=NewTargetSerializer, responses={201: TargetSerializer})
    def create(self, request: Request) -> Response:
        """It is told of events from now on. Its URL is not shown again."""
        form = valid(NewTargetSerializer(data=request.data))
        made = save_target(NotificationTarget(), actor=actor_of(request), **form)
        return Response(self._shown(made), status=status.HTTP_201_CREATED)

    @extend_schema(summary="Change a target", request=TargetChangeSerializer, responses=TargetSerializer)
    def partial_update(self, request: Request, name: str) -> Response:
        form = valid(TargetChangeSerializer(data=request.data))
        return Response(self._shown(save_target(self.get_object(), actor=actor_of(request), **form)))

    @extend_schema(summary="Delete a target and its log", responses={204: None})
    def destroy(self, request: Request, name: str) -> Response:
        delete_target(self.get_object(), actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="notification_targets_test",
        summary="Send a test message",
        request=None,
        responses={202: NotificationSerializer},
    )
    @action(detail=True, methods=["post"])
    def test(self, request: Request, name: str) -> Response:
        """What came of it stands in the log, under the answer's `id`."""
        message = try_target(self.get_object(), actor=actor_of(request))
        return Response(NotificationSerializer(message).data, status=status.HTTP_202_ACCEPTED)

    def _shown(self, target: NotificationTarget) -> object:
        return self.get_serializer(self.get_queryset().get(pk=target.pk)).data


class NotificationFilter(django_filters.FilterSet):  # type: ignore[misc]
    target = django_filters.CharFilter(field_name="target__name", label="Name of the target.")
    status = django_filters.MultipleChoiceFilter(choices=NotificationStatus.choices, label="Repeat it for several.")

    class Meta:
        model = Notification
        fields: list[str] = []


@extend_schema_view(
    list=extend_schema(summary="List messages, newest first"), retrieve=extend_schema(summary="Show a message")
)
@extend_schema(tags=["notifications"])
class NotificationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Notification]):
    """The log of what was told, or could not be."""

    serializer_class = NotificationSerializer
    permission_classes = [ActPermissions]
    read_permission = "outbox.view_notificationtarget"
    act_permissions = {"again": CHANGE}
    filterset_class = NotificationFilter
    lookup_value_converter = "int"

    def get_queryset(self) -> QuerySet[Notification]:
        return Notification.objects.select_related("target").order_by("-pk")

    @extend_schema(
        operation_id="notifications_again",
        summary="Send a message again that was given up",
        request=None,
        responses={202: NotificationSerializer},
    )
    @action(detail=True, methods=["post"])
    def again(self, request: Request, pk: int) -> Response:
        message = send_again(self.get_object(), actor=actor_of(request))
        return Response(self.get_serializer(message).data, status=status.HTTP_202_ACCEPTED)
