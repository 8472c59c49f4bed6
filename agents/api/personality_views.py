"""Personalities."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from agents.api.personality_serializers import (
    NewPersonalitySerializer,
    PersonalityChangeSerializer,
    PersonalitySerializer,
    PersonalityVersionSerializer,
)
from agents.models import Personality
from agents.services import delete_personality, save_personality
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
        personality = save_personality(Personality(), form.validated_data, actor=actor_of(request))
        return Response(self.get_serializer(personality).data, status=status.HTTP_201_CREATED)

    @extend_schema(summary="Change a personality", request=PersonalityChangeSerializer, responses=PersonalitySerializer)
    def partial_update(self, request: Request, name: str) -> Response:
        """Each change is a new version of it."""
        personality = self.get_object()
        form = PersonalityChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        saved = save_personality(personality, form.validated_data, actor=actor_of(request))
        return Response(self.get_serializer(saved).data)

    @extend_schema(summary="Delete a personality", responses={204: None})
    def destroy(self, request: Request, name: str) -> Response:
        """Refused while agents have it, or have worked with it."""
        delete_personality(self.get_object(), actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        summary="List the versions of a personality, newest first", responses=PersonalityVersionSerializer(many=True)
    )
    @action(detail=True, methods=["get"])
    def versions(self, request: Request, name: str) -> Response:
        page: Any = self.paginate_queryset(self.get_object().versions.order_by("-version"))  # type: ignore[arg-type]
        return self.get_paginated_response(PersonalityVersionSerializer(page, many=True).data)
