"""Personalities and agents."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api.filters import AgentFilter
from agents.api.serializers import (
    AgentSerializer,
    NewAgentSerializer,
    NewPersonalitySerializer,
    PersonalityChangeSerializer,
    PersonalitySerializer,
)
from agents.models import Agent, Personality
from agents.services import create_agent, delete_personality, retire_agent, save_personality
from runners.actors import actor_of
from runners.api.permissions import ActPermissions


@extend_schema_view(
    list=extend_schema(summary="List personalities"), retrieve=extend_schema(summary="Show a personality")
)
@extend_schema(tags=["agents"])
class PersonalityViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Personality]):
    """Roles: how an agent works, and with which program by default."""

    serializer_class = PersonalitySerializer
    permission_classes = [ActPermissions]
    lookup_field = "name"
    lookup_value_converter = "slug"
    queryset = Personality.objects.order_by("name")
    act_permissions = {
        "create": "agents.add_personality",
        "partial_update": "agents.change_personality",
        "destroy": "agents.delete_personality",
    }

    @extend_schema(
        summary="Add a personality", request=NewPersonalitySerializer, responses={201: PersonalitySerializer}
    )
    def create(self, request: Request) -> Response:
        form = NewPersonalitySerializer(data=request.data)
        form.is_valid(raise_exception=True)
        personality = save_personality(Personality(), form.validated_data)
        return Response(self.get_serializer(personality).data, status=status.HTTP_201_CREATED)

    @extend_schema(summary="Change a personality", request=PersonalityChangeSerializer, responses=PersonalitySerializer)
    def partial_update(self, request: Request, name: str) -> Response:
        """Each change is a new version of it."""
        personality = self.get_object()
        form = PersonalityChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(self.get_serializer(save_personality(personality, form.validated_data)).data)

    @extend_schema(summary="Delete a personality", responses={204: None})
    def destroy(self, request: Request, name: str) -> Response:
        """Refused while agents have it."""
        delete_personality(self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema_view(list=extend_schema(summary="List agents"), retrieve=extend_schema(summary="Show an agent"))
@extend_schema(tags=["agents"])
class AgentViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Agent]):
    """Named workers; they live on between runs."""

    serializer_class = AgentSerializer
    permission_classes = [ActPermissions]
    filterset_class = AgentFilter
    lookup_field = "name"
    lookup_value_converter = "slug"
    act_permissions = {"create": "agents.add_agent", "retire": "agents.change_agent"}

    def get_queryset(self) -> QuerySet[Agent]:
        return Agent.objects.select_related("personality", "project").order_by("name")

    @extend_schema(summary="Create an agent", request=NewAgentSerializer, responses={201: AgentSerializer})
    def create(self, request: Request) -> Response:
        form = NewAgentSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        agent = create_agent(actor=actor_of(request), **form.validated_data)
        return Response(self.get_serializer(agent).data, status=status.HTTP_201_CREATED)

    @extend_schema(operation_id="agents_retire", summary="Retire an agent", request=None, responses=AgentSerializer)
    @action(detail=True, methods=["post"])
    def retire(self, request: Request, name: str) -> Response:
        """For good; its records stay. An agent that works must be stopped first."""
        return Response(self.get_serializer(retire_agent(self.get_object().pk, actor=actor_of(request))).data)
