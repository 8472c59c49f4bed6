"""Sessions and their messages."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from runners.actors import actor_of
from runners.api.filters import MessageFilter, SessionFilter
from runners.api.launch_serializers import GoOnSerializer
from runners.api.pagination import AfterPagination, SearchPagination
from runners.api.permissions import ActPermissions
from runners.api.runner_serializers import RunnerSerializer
from runners.api.search_views import SessionHitsSerializer
from runners.api.session_serializers import MessageSerializer, SessionSerializer
from runners.api.transcripts import FILE, KIND, file_response, kind_of
from runners.models import Message, Runner, Session
from runners.services.answers import tokens_of_messages
from runners.services.going_on import fork_session, resume_session
from runners.services.redaction import redactions_of_sessions
from runners.services.search import similar_sessions
from runners.services.transcripts.messages import whole_message
from runners.services.transcripts.read import transcripts_of_session


@extend_schema_view(
    list=extend_schema(summary="List sessions, newest first"), retrieve=extend_schema(summary="Show a session")
)
@extend_schema(tags=["sessions"])
class SessionViewSet(viewsets.ReadOnlyModelViewSet[Session]):
    """Conversations with agent programs; one may span several runners."""

    serializer_class = SessionSerializer
    permission_classes = [ActPermissions]
    filterset_class = SessionFilter
    lookup_value_converter = "uuid"
    act_permissions = {"resume": "runners.add_runner", "fork": "runners.add_runner"}

    def get_queryset(self) -> QuerySet[Session]:
        runners = Prefetch("runners", queryset=Runner.objects.only("id", "session_id").order_by("created_at"))
        return Session.objects.select_related("project").prefetch_related(runners).order_by("-started_at", "-pk")

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        # Asked once for a page, not once for a session.
        shown = args[0] if kwargs.get("many") else args[:1]
        redactions = redactions_of_sessions(session.pk for session in shown)
        kwargs["context"] = {**self.get_serializer_context(), "redactions": redactions}
        return SessionSerializer(*args, **kwargs)

    @extend_schema(
        operation_id="sessions_transcript",
        summary="Download the recording of a session",
        parameters=[KIND],
        responses=FILE,
    )
    @action(detail=True, methods=["get"], filterset_class=None, pagination_class=None)
    def transcript(self, request: Request, pk: UUID) -> HttpResponseBase:
        """All its attempts in one file: asciicast v2, or JSON lines."""
        session = get_object_or_404(Session, pk=pk)
        found = transcripts_of_session(session.pk, kind_of(request))
        return file_response(list(found.filter(removed_at__isnull=True)), f"session-{str(session.pk)[:8]}")

    @extend_schema(summary="Read the whole of one message", responses=MessageSerializer)
    @action(
        detail=True, methods=["get"], url_path="messages/<int:message_id>", filterset_class=None, pagination_class=None
    )
    def whole_message(self, request: Request, pk: UUID, message_id: int) -> Response:
        """404 `transcript_missing`: what its row leaves out is not in storage yet, or not any more."""
        message = get_object_or_404(Message.objects.select_related("session"), pk=message_id, session=pk)
        message.text, message.tool_input = whole_message(message)
        message.more_characters = 0
        tokens = tokens_of_messages(message.session_id, message.session.backend, [message])
        return Response(MessageSerializer(message, context={"answer_tokens": tokens}).data)

    @extend_schema(summary="Read a session's messages, oldest first", responses=MessageSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=AfterPagination, filterset_class=MessageFilter)
    def messages(self, request: Request, pk: UUID) -> Response:
        """To follow a conversation, ask again with `after` set to `next_after`."""
        # Not get_object(): that would narrow sessions by the messages' filters.
        session = get_object_or_404(Session, pk=pk)
        found: Any = Message.objects.filter(session=session)
        page = self.paginate_queryset(self.filter_queryset(found))
        tokens = tokens_of_messages(session.pk, session.backend, page or [])
        shown = MessageSerializer(page, many=True, context={"answer_tokens": tokens})
        return self.get_paginated_response(shown.data)

    @extend_schema(
        summary="Find sessions that are about the same",
        responses=SessionHitsSerializer(many=True),
        filters=False,
    )
    @action(detail=True, methods=["get"], pagination_class=SearchPagination, filterset_class=None, filter_backends=[])
    def similar(self, request: Request, pk: UUID) -> Response:
        """Those that said what is nearest to the mean of this one, nearest first, each with its nearest messages."""
        found: Any = similar_sessions(get_object_or_404(Session, pk=pk))
        page: Any = self.paginate_queryset(found)
        return self.get_paginated_response(SessionHitsSerializer(page, many=True).data)

    @extend_schema(
        operation_id="sessions_resume",
        summary="Go on with a session",
        request=GoOnSerializer,
        responses={
            201: OpenApiResponse(RunnerSerializer, "The new runner; its `session_id` says which session it is.")
        },
    )
    @action(detail=True, methods=["post"], pagination_class=None, filterset_class=None)
    def resume(self, request: Request, pk: UUID) -> Response:
        """Launches a runner that goes on in this session, where the program has the conversation.

        A new session begins if what follows `at_message` is to stay (`began` is `forked`), or if the program cannot go
        on: then the session is `rebuilt`, its first prompt quotes what was said, and `rebuilt_because` says why. 409
        `session_busy` while a runner works in it.
        """
        return self._go_on(request, pk, resume_session)

    @extend_schema(
        operation_id="sessions_fork",
        summary="Fork a session",
        request=GoOnSerializer,
        responses={201: OpenApiResponse(RunnerSerializer, "The new runner, in a session of its own.")},
    )
    @action(detail=True, methods=["post"], pagination_class=None, filterset_class=None)
    def fork(self, request: Request, pk: UUID) -> Response:
        """Launches a runner in a new session that begins as a copy of this one, or of its part up to `at_message`.

        The program makes the copy where it can; else the new session is `rebuilt`, as with `resume`.
        """
        return self._go_on(request, pk, fork_session)

    def _go_on(self, request: Request, pk: UUID, verb: Callable[..., Runner]) -> Response:
        session = get_object_or_404(Session, pk=pk)
        form = GoOnSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        runner = verb(session.pk, actor=actor_of(request), user=request.user, **form.validated_data)
        loaded = Runner.objects.select_related("project", "node", "observation", "requested_by").get(pk=runner.pk)
        address = reverse("runner-detail", args=[runner.pk])
        return Response(
            RunnerSerializer(loaded, context=self.get_serializer_context()).data,
            status=status.HTTP_201_CREATED,
            headers={"Location": address},
        )
