"""The event stream over HTTP: read-only."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from outbox import registry
from outbox.api.filters import EventFilter
from outbox.api.pagination import StreamPagination
from outbox.api.serializers import EventSerializer, EventTypeSerializer
from outbox.models import Entry


@extend_schema(tags=["events"])
class EventViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Entry]):
    """What has happened, in the order of the stream."""

    serializer_class = EventSerializer
    pagination_class = StreamPagination
    filterset_class = EventFilter

    def get_queryset(self) -> QuerySet[Entry]:
        return Entry.objects.events()

    @extend_schema(summary="Read the event stream past a position")
    def list(self, request: Request) -> Response:
        """To follow the stream, ask again with `after` set to `next_after`. Events are kept for 30 days by default."""
        return super().list(request)


@extend_schema(tags=["events"])
class EventTypeViewSet(viewsets.ViewSet):
    """The kinds of events there are."""

    @extend_schema(summary="List the event types", responses=EventTypeSerializer(many=True))
    def list(self, request: Request) -> Response:
        return Response(EventTypeSerializer(registry.all_types(), many=True).data)
