"""Agents: spawn, look, steer."""

from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api.agent_serializers import (
    AgentChangeSerializer,
    AgentMoveSerializer,
    AgentSerializer,
    NewAgentSerializer,
    NewThoughtSerializer,
    SpawnSerializer,
    SuggestionSerializer,
    ThoughtSerializer,
)
from agents.api.filters import AgentFilter
from agents.figures import figures_of_agents
from agents.models import Agent
from agents.services import (
    add_thought,
    change_agent,
    create_agent,
    delete_agent,
    kill_agent,
    pause_agent,
    resume_agent,
    retire_agent,
    revive_agent,
    spawn_agents,
)
from agents.services.suggest import suggest_jobs
from runners.actors import actor_of
from runners.api.permissions import ActPermissions

CHANGE = "agents.change_agent"


def agent_act(name: str, summary: str) -> Callable[..., Any]:
    """Return the decorators of an act on one agent that takes no body."""

    def decorate(function: Callable[..., Any]) -> Any:
        described = extend_schema(
            operation_id=f"agents_{name}", summary=summary, request=None, responses=AgentSerializer
        )
        return described(action(detail=True, methods=["post"])(function))

    return decorate


@extend_schema_view(retrieve=extend_schema(summary="Show an agent"))
@extend_schema(tags=["agents"])
class AgentViewSet(viewsets.GenericViewSet[Agent]):
    """Named workers; they live on between runs."""

    serializer_class = AgentSerializer
    permission_classes = [ActPermissions]
    filterset_class = AgentFilter
    lookup_field = "name"
    lookup_value_converter = "slug"
    act_permissions = {
        "create": "agents.add_agent",
        "spawn": "agents.add_agent",
        "partial_update": CHANGE,
        "destroy": "agents.delete_agent",
        **dict.fromkeys(("pause", "resume", "kill", "revive", "retire", "think"), CHANGE),
    }

    def get_queryset(self) -> QuerySet[Agent]:
        return Agent.objects.select_related("personality", "project").with_current().order_by("name")

    @extend_schema(summary="List agents", responses=AgentSerializer(many=True))
    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self._shown(page or []))

    def retrieve(self, request: Request, name: str) -> Response:
        return Response(self._shown([self.get_object()])[0])

    @extend_schema(summary="Create an agent", request=NewAgentSerializer, responses={201: AgentSerializer})
    def create(self, request: Request) -> Response:
        form = NewAgentSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        agent = create_agent(actor=actor_of(request), **form.validated_data)
        return Response(self._loaded([agent])[0], status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="agents_spawn",
        summary="Spawn many agents",
        request=SpawnSerializer,
        responses={201: AgentSerializer(many=True)},
    )
    @action(detail=False, methods=["post"], filterset_class=None, pagination_class=None)
    def spawn(self, request: Request) -> Response:
        """All or none; each gets a name of its own."""
        form = SpawnSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        agents = spawn_agents(actor=actor_of(request), **form.validated_data)
        return Response(self._loaded(agents), status=status.HTTP_201_CREATED)

    @extend_schema(summary="Change an agent", request=AgentChangeSerializer, responses=AgentSerializer)
    def partial_update(self, request: Request, name: str) -> Response:
        agent = self.get_object()
        form = AgentChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(self._loaded([change_agent(agent.pk, actor=actor_of(request), **form.validated_data)])[0])

    @extend_schema(summary="Delete an agent that never worked", responses={204: None})
    def destroy(self, request: Request, name: str) -> Response:
        """One that has worked is retired instead: its records stay."""
        delete_agent(self.get_object().pk, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @agent_act("pause", "Pause an agent")
    def pause(self, request: Request, name: str) -> Response:
        """An idle one takes no work; a working one's runner is suspended."""
        return self._done(pause_agent, request)

    @agent_act("resume", "Resume a paused agent")
    def resume(self, request: Request, name: str) -> Response:
        return self._done(resume_agent, request)

    @agent_act("kill", "Stop an agent's runner at once")
    def kill(self, request: Request, name: str) -> Response:
        """It is in error until it is revived; its job goes back to the board when the runner has ended."""
        return self._done(kill_agent, request)

    @agent_act("revive", "Make an agent in error idle again")
    def revive(self, request: Request, name: str) -> Response:
        return self._done(revive_agent, request)

    @agent_act("retire", "Retire an agent")
    def retire(self, request: Request, name: str) -> Response:
        """For good; its records stay. An agent that works must be stopped first."""
        return self._done(retire_agent, request)

    @extend_schema(summary="List what an agent thought, newest first", responses=ThoughtSerializer(many=True))
    @action(detail=True, methods=["get"], filterset_class=None)
    def thoughts(self, request: Request, name: str) -> Response:
        """The newest 50 are kept."""
        page: Any = self.paginate_queryset(self.get_object().thoughts.order_by("-at", "-pk"))  # type: ignore[arg-type]
        return self.get_paginated_response(ThoughtSerializer(page, many=True).data)

    @extend_schema(
        operation_id="agents_think",
        summary="Note what an agent thinks",
        request=NewThoughtSerializer,
        responses={201: ThoughtSerializer},
    )
    @thoughts.mapping.post
    def think(self, request: Request, name: str) -> Response:
        form = NewThoughtSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        thought = add_thought(self.get_object().pk, actor=actor_of(request), **form.validated_data)
        return Response(ThoughtSerializer(thought).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        summary="Suggest the next jobs for an agent, the best first", responses=SuggestionSerializer(many=True)
    )
    @action(detail=True, methods=["get"], filterset_class=None, pagination_class=None)
    def suggestions(self, request: Request, name: str) -> Response:
        """By priority, then by what its role claims to be good at, then by age."""
        suggestions: Any = suggest_jobs(self.get_object())
        return Response(SuggestionSerializer(suggestions, many=True).data)

    @extend_schema(summary="Show an agent's history, oldest first", responses=AgentMoveSerializer(many=True))
    @action(detail=True, methods=["get"], filterset_class=None)
    def moves(self, request: Request, name: str) -> Response:
        page: Any = self.paginate_queryset(self.get_object().moves.order_by("pk"))  # type: ignore[arg-type]
        return self.get_paginated_response(AgentMoveSerializer(page, many=True).data)

    def _done(self, verb: Callable[..., Agent], request: Request) -> Response:
        return Response(self._loaded([verb(self.get_object().pk, actor=actor_of(request))])[0])

    def _loaded(self, agents: Sequence[Agent]) -> Any:
        return self._shown(list(self.get_queryset().filter(pk__in=[agent.pk for agent in agents])))

    def _shown(self, agents: Sequence[Agent]) -> Any:
        context = {**self.get_serializer_context(), "figures": figures_of_agents([agent.pk for agent in agents])}
        return AgentSerializer(agents, many=True, context=context).data
