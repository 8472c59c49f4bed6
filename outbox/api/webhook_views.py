"""Webhooks over HTTP: create, try out, look at the log, send again."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from outbox.actors import actor_of
from outbox.api.filters import WebhookDeliveryFilter
from outbox.api.permissions import ActPermissions
from outbox.api.webhook_serializers import (
    MadeWebhookSerializer,
    NewWebhookSerializer,
    PingSerializer,
    RedeliveredSerializer,
    RedeliverSerializer,
    SecretSerializer,
    WebhookChangeSerializer,
    WebhookDeliveryDetailSerializer,
    WebhookDeliverySerializer,
    WebhookSerializer,
)
from outbox.models import Webhook, WebhookDelivery
from outbox.services.signing import rotate_secret
from outbox.services.webhooks import (
    change_webhook,
    create_webhook,
    delete_webhook,
    ping_webhook,
    redeliver,
    redeliver_failed,
)

VIEW, CHANGE = "outbox.view_webhook", "outbox.change_webhook"


@extend_schema_view(list=extend_schema(summary="List webhooks"), retrieve=extend_schema(summary="Show a webhook"))
@extend_schema(tags=["webhooks"])
class WebhookViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Webhook]):
    """Receivers of events by HTTP. Addresses may hold secrets of the receiver's, so reading needs a permission, too."""

    serializer_class = WebhookSerializer
    permission_classes = [ActPermissions]
    read_permission = VIEW
    act_permissions = {
        "create": "outbox.add_webhook",
        "partial_update": CHANGE,
        "destroy": "outbox.delete_webhook",
        "rotate_secret": CHANGE,
        "ping": CHANGE,
        "redeliver": CHANGE,
    }
    lookup_value_converter = "uuid"
    queryset = Webhook.objects.order_by("created_at")

    @extend_schema(summary="Create a webhook", request=NewWebhookSerializer, responses={201: MadeWebhookSerializer})
    def create(self, request: Request) -> Response:
        """The answer holds the secret, once. It gets the events from now on."""
        form = _valid(NewWebhookSerializer(data=request.data))
        webhook, secret = create_webhook(**form, actor=actor_of(request))
        webhook.secret = secret
        return Response(MadeWebhookSerializer(webhook).data, status=status.HTTP_201_CREATED)

    @extend_schema(summary="Change a webhook", request=WebhookChangeSerializer, responses=WebhookSerializer)
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Also switches it off and on: `active`."""
        form = _valid(WebhookChangeSerializer(data=request.data))
        return Response(self.get_serializer(change_webhook(self.get_object(), actor=actor_of(request), **form)).data)

    @extend_schema(summary="Delete a webhook and its log", responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        delete_webhook(self.get_object(), actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="webhooks_rotate_secret",
        summary="Give a webhook a new secret",
        request=None,
        responses=SecretSerializer,
    )
    @action(detail=True, methods=["post"], url_path="rotate-secret")
    def rotate_secret(self, request: Request, pk: UUID) -> Response:
        """For WEBHOOK_ROTATION_HOURS requests carry two signatures, so that the receiver can be changed meanwhile."""
        webhook = self.get_object()
        secret = rotate_secret(webhook, actor=actor_of(request))
        webhook.refresh_from_db()
        answer = {"secret": secret, "two_secrets_until": webhook.previous_secret_until}
        return Response(SecretSerializer(answer).data)

    @extend_schema(
        operation_id="webhooks_ping", summary="Try out a webhook", request=None, responses={202: PingSerializer}
    )
    @action(detail=True, methods=["post"])
    def ping(self, request: Request, pk: UUID) -> Response:
        """An event `webhook.ping` goes to it, by the way of all events; its log shows what came of it."""
        entry = ping_webhook(self.get_object(), actor=actor_of(request))
        return Response(PingSerializer({"event_id": entry.event_id}).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        operation_id="webhooks_redeliver_failed",
        summary="Send again what failed since a time",
        request=RedeliverSerializer,
        responses={202: RedeliveredSerializer},
    )
    @action(detail=True, methods=["post"])
    def redeliver(self, request: Request, pk: UUID) -> Response:
        form = _valid(RedeliverSerializer(data=request.data))
        count = redeliver_failed(self.get_object(), since=form["since"], actor=actor_of(request))
        return Response(RedeliveredSerializer({"count": count}).data, status=status.HTTP_202_ACCEPTED)


@extend_schema_view(
    list=extend_schema(summary="List a webhook's deliveries, newest first"),
    retrieve=extend_schema(
        summary="Show a delivery with each request and answer", responses=WebhookDeliveryDetailSerializer
    ),
)
@extend_schema(tags=["webhooks"])
class WebhookDeliveryViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[WebhookDelivery]
):
    """The log of one webhook."""

    serializer_class = WebhookDeliverySerializer
    permission_classes = [ActPermissions]
    read_permission = VIEW
    act_permissions = {"redeliver": CHANGE}
    filterset_class = WebhookDeliveryFilter
    lookup_value_converter = "int"

    def get_queryset(self) -> QuerySet[WebhookDelivery]:
        if getattr(self, "swagger_fake_view", False):
            return WebhookDelivery.objects.none()
        webhook = get_object_or_404(Webhook, pk=self.kwargs["webhook_id"])
        return webhook.deliveries.select_related("webhook").order_by("-id")

    def get_serializer_class(self) -> Any:
        return WebhookDeliveryDetailSerializer if self.action == "retrieve" else WebhookDeliverySerializer

    @extend_schema(
        operation_id="webhooks_deliveries_redeliver",
        summary="Send a delivery again",
        request=None,
        responses={202: WebhookDeliverySerializer},
    )
    @action(detail=True, methods=["post"])
    def redeliver(self, request: Request, webhook_id: UUID, pk: int) -> Response:
        """Also one that arrived; the receiver knows it by the same `webhook-id`."""
        delivery = redeliver(self.get_object(), actor=actor_of(request))
        return Response(self.get_serializer(delivery).data, status=status.HTTP_202_ACCEPTED)


def _valid(form: Any) -> Any:
    form.is_valid(raise_exception=True)
    return form.validated_data
