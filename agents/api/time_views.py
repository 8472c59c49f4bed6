"""Todos and time."""

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from django.contrib.auth import get_user_model
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api.filters import TimeEntryFilter, TodoFilter
from agents.api.time_serializers import (
    HoursSerializer,
    NewTimeSerializer,
    NewTodoSerializer,
    StopClockSerializer,
    TimeEntrySerializer,
    TodoChangeSerializer,
    TodoSerializer,
)
from agents.exceptions import AgentError, InvalidAgent, InvalidTime
from agents.hours import hours_by
from agents.models import Agent, Job, TimeEntry, Todo
from agents.services import (
    change_todo,
    create_todo,
    delete_todo,
    enter_time,
    pause_clock,
    resume_clock,
    start_clock,
    stop_clock,
)
from runners.actors import actor_of
from runners.api.permissions import ActPermissions

#: Longer periods are asked for in parts: each entry of the period is read.
MAX_PERIOD = timedelta(days=366)


@extend_schema_view(
    list=extend_schema(summary="List todos, newest first"), retrieve=extend_schema(summary="Show a todo")
)
@extend_schema(tags=["todos"])
class TodoViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Todo]):
    """What agents note they have to do."""

    serializer_class = TodoSerializer
    permission_classes = [ActPermissions]
    filterset_class = TodoFilter
    lookup_value_converter = "uuid"
    queryset = Todo.objects.select_related("agent").order_by("-created_at", "-pk")
    act_permissions = {
        "create": "agents.add_todo",
        "partial_update": "agents.change_todo",
        "destroy": "agents.delete_todo",
    }

    @extend_schema(summary="Note something to do", request=NewTodoSerializer, responses={201: TodoSerializer})
    def create(self, request: Request) -> Response:
        form = NewTodoSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        fields = dict(form.validated_data)
        agent, job = _agent(fields.pop("agent"), InvalidAgent), _job(fields.pop("job", ""), InvalidAgent)
        todo = create_todo(agent, job=job, actor=actor_of(request), **fields)
        return Response(TodoSerializer(todo).data, status=status.HTTP_201_CREATED)

    @extend_schema(summary="Change a todo", request=TodoChangeSerializer, responses=TodoSerializer)
    def partial_update(self, request: Request, pk: UUID) -> Response:
        form = TodoChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        todo = change_todo(self.get_object().pk, actor=actor_of(request), **form.validated_data)
        return Response(TodoSerializer(todo).data)

    @extend_schema(summary="Delete a todo", responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        delete_todo(self.get_object().pk, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


def clock_act(name: str, summary: str) -> Callable[..., Any]:
    """Return the decorators of an act on one clock that takes no body."""

    def decorate(function: Callable[..., Any]) -> Any:
        described = extend_schema(
            operation_id=f"time_entries_{name}", summary=summary, request=None, responses=TimeEntrySerializer
        )
        return described(action(detail=True, methods=["post"])(function))

    return decorate


@extend_schema_view(
    list=extend_schema(summary="List time entries, newest first"), retrieve=extend_schema(summary="Show a time entry")
)
@extend_schema(tags=["time"])
class TimeEntryViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[TimeEntry]):
    """Hours of work. Entries of one worker never overlap."""

    serializer_class = TimeEntrySerializer
    permission_classes = [ActPermissions]
    filterset_class = TimeEntryFilter
    lookup_value_converter = "int"
    queryset = TimeEntry.objects.select_related("agent", "person").order_by("-started_at", "-pk")
    act_permissions = {
        "create": "agents.add_timeentry",
        "pause": "agents.change_timeentry",
        "resume": "agents.change_timeentry",
        "stop": "agents.change_timeentry",
    }

    @extend_schema(
        summary="Start a clock, or enter hours", request=NewTimeSerializer, responses={201: TimeEntrySerializer}
    )
    def create(self, request: Request) -> Response:
        """With both times hours are entered; with none a clock is started. Overlaps are refused."""
        form = NewTimeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        fields = _time_fields(dict(form.validated_data), request.user)
        verb = enter_time if "started_at" in fields else start_clock
        return Response(
            TimeEntrySerializer(verb(actor=actor_of(request), **fields)).data, status=status.HTTP_201_CREATED
        )

    @clock_act("pause", "Pause a clock")
    def pause(self, request: Request, pk: int) -> Response:
        return Response(TimeEntrySerializer(pause_clock(self.get_object().pk, actor=actor_of(request))).data)

    @clock_act("resume", "Resume a paused clock")
    def resume(self, request: Request, pk: int) -> Response:
        return Response(TimeEntrySerializer(resume_clock(self.get_object().pk, actor=actor_of(request))).data)

    @extend_schema(
        operation_id="time_entries_stop",
        summary="Stop a clock",
        request=StopClockSerializer,
        responses=TimeEntrySerializer,
    )
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: int) -> Response:
        form = StopClockSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        entry = stop_clock(self.get_object().pk, actor=actor_of(request), **form.validated_data)
        return Response(TimeEntrySerializer(entry).data)

    @extend_schema(
        operation_id="time_entries_hours",
        summary="Add up hours by day, job or worker",
        parameters=[
            OpenApiParameter("by", enum=["day", "job", "worker"], default="day"),
            OpenApiParameter("start", OpenApiTypes.DATETIME, description="30 days before the end without."),
            OpenApiParameter("end", OpenApiTypes.DATETIME, description="Now without."),
            OpenApiParameter("zone", default="UTC", description="Whose days they are, such as Europe/Vienna."),
        ],
        responses=HoursSerializer(many=True),
    )
    @action(detail=False, methods=["get"], pagination_class=None)
    def hours(self, request: Request) -> Response:
        """The other filters of the list narrow it."""
        asked = HoursQuery(data=request.query_params)
        asked.is_valid(raise_exception=True)
        entries: Any = self.filter_queryset(TimeEntry.objects.order_by("pk"))
        found = hours_by(entries=entries, **asked.period())
        return Response(HoursSerializer([{"key": key, "hours": hours} for key, hours in found.items()], many=True).data)


class HoursQuery(serializers.Serializer[Any]):
    """The query of the sums."""

    by = serializers.ChoiceField(choices=["day", "job", "worker"], default="day")
    start = serializers.DateTimeField(required=False, default_timezone=UTC)
    end = serializers.DateTimeField(required=False, default_timezone=UTC)
    zone = serializers.CharField(default="UTC")

    def validate_zone(self, zone: str) -> str:
        if zone not in available_timezones():
            raise serializers.ValidationError(f"There is no time zone {zone!r}.")
        return zone

    def validate(self, attrs: Any) -> Any:
        attrs["end"] = attrs.get("end") or timezone.now()
        attrs["start"] = attrs.get("start") or attrs["end"] - timedelta(days=30)
        if not timedelta() < attrs["end"] - attrs["start"] <= MAX_PERIOD:
            raise serializers.ValidationError({"start": [f"It must be up to {MAX_PERIOD.days} days before the end."]})
        return attrs

    def period(self) -> dict[str, Any]:
        """Return the arguments of hours_by()."""
        asked = self.validated_data
        return {"by": asked["by"], "start": asked["start"], "end": asked["end"], "zone": ZoneInfo(asked["zone"])}


def _time_fields(fields: dict[str, Any], user: Any) -> dict[str, Any]:
    fields["job"] = _job(fields.get("job", ""), InvalidTime)
    if name := fields.get("agent"):
        fields["agent"] = _agent(name, InvalidTime)
    elif name := fields.get("person"):
        fields["person"] = get_user_model().objects.filter(username=name).first()
        if fields["person"] is None:
            raise InvalidTime(f"There is no person {name!r}.", field="person")
    else:
        fields["person"] = user
    return fields


def _agent(name: str, refusal: type[AgentError]) -> Agent:
    agent = Agent.objects.filter(name=name).first()
    if agent is None:
        raise refusal(f"There is no agent {name!r}.", field="agent")
    return agent


def _job(job_id: str, refusal: type[AgentError]) -> Job | None:
    if not job_id:
        return None
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        raise refusal(f"There is no job {job_id!r}.", field="job")
    return job
