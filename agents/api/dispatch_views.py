"""How projects give out their jobs by themselves."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import DispatchSettings
from agents.services import set_dispatch
from runners.actors import actor_of
from runners.api.permissions import ActPermissions
from runners.api.strict import StrictSerializer
from runners.models import Project


class DispatchSerializer(serializers.ModelSerializer[DispatchSettings]):
    project = serializers.CharField(source="project.name")
    work_days = serializers.ListField(child=serializers.IntegerField(), help_text="0 is Monday, 6 is Sunday.")

    class Meta:
        model = DispatchSettings
        fields = [
            "project",
            "enabled",
            "max_parallel",
            "work_days",
            "work_from",
            "work_until",
            "time_zone",
            "backend",
            "max_failures",
            "waits_for",
            "last_dispatched_at",
            "updated_at",
        ]


class DispatchChangeSerializer(StrictSerializer):
    """What is left out stays."""

    enabled = serializers.BooleanField(required=False)
    max_parallel = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=100_000, help_text="null: as the quota allows."
    )
    work_days = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=6), required=False, help_text="0 is Monday, 6 is Sunday."
    )
    work_from = serializers.TimeField(required=False, allow_null=True)
    work_until = serializers.TimeField(
        required=False, allow_null=True, help_text="Before work_from: the hours reach over midnight."
    )
    time_zone = serializers.CharField(required=False, max_length=60)
    backend = serializers.CharField(
        required=False, allow_blank=True, max_length=40, help_text="Instead of the one that a personality names."
    )
    max_failures = serializers.IntegerField(
        required=False, min_value=1, max_value=100, help_text="After so many failed runs a job asks people."
    )


@extend_schema_view(
    list=extend_schema(summary="List the projects whose dispatch was ever set"),
    retrieve=extend_schema(summary="Show a project's dispatch"),
)
@extend_schema(tags=["jobs"])
class DispatchViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[DispatchSettings]):
    """Whether idle agents take the jobs of a project by themselves. One that was never set is off."""

    serializer_class = DispatchSerializer
    permission_classes = [ActPermissions]
    lookup_field = "project__name"
    lookup_url_kwarg = "project"
    lookup_value_converter = "slug"
    act_permissions = {"partial_update": "agents.change_dispatchsettings"}

    def get_queryset(self) -> QuerySet[DispatchSettings]:
        return DispatchSettings.objects.select_related("project").order_by("project__name")

    def get_object(self) -> DispatchSettings:
        """Return the project's settings; one that has none has the defaults."""
        project: Any = self._project()
        return self.get_queryset().filter(project=project).first() or DispatchSettings(project=project)

    def _project(self) -> Project:
        return get_object_or_404(Project, name=self.kwargs["project"])

    @extend_schema(summary="Set a project's dispatch", request=DispatchChangeSerializer, responses=DispatchSerializer)
    def partial_update(self, request: Request, project: str) -> Response:
        """Switched on, work starts at once."""
        form = DispatchChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        dispatch = set_dispatch(self._project(), actor=actor_of(request), **form.validated_data)
        return Response(self.get_serializer(dispatch).data)
