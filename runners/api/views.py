"""Projects and nodes."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from runners.actors import actor_of
from runners.api.filters import ProjectFilter
from runners.api.permissions import ActPermissions
from runners.api.project_serializers import (
    NewProjectSerializer,
    NodeSerializer,
    ProjectChangeSerializer,
    ProjectSerializer,
    VersionSerializer,
)
from runners.models import Node, Project
from runners.services import archive_project, create_project
from runners.services.drain import drain_node, undrain_node
from runners.services.history import history_of
from runners.services.projects import change_project


@extend_schema_view(
    list=extend_schema(summary="List projects"),
    retrieve=extend_schema(summary="Show a project"),
)
@extend_schema(tags=["projects"])
class ProjectViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Project]):
    """Workspaces in which runners work."""

    serializer_class = ProjectSerializer
    permission_classes = [ActPermissions]
    filterset_class = ProjectFilter
    lookup_field = "name"
    lookup_value_converter = "slug"
    act_permissions = {
        "create": "runners.add_project",
        "partial_update": "runners.change_project",
        "archive": "runners.change_project",
    }

    def get_queryset(self) -> QuerySet[Project]:
        return Project.objects.select_related("quota").with_runner_counts().order_by("name")

    @extend_schema(summary="Create a project", request=NewProjectSerializer, responses={201: ProjectSerializer})
    def create(self, request: Request) -> Response:
        """The directory must exist, below an allowed workspace root."""
        form = NewProjectSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        project = create_project(actor=actor_of(request), **form.validated_data)
        return Response(self._shown(project), status=status.HTTP_201_CREATED)

    @extend_schema(summary="Change a project", request=ProjectChangeSerializer, responses=ProjectSerializer)
    def partial_update(self, request: Request, name: str) -> Response:
        project = self.get_object()
        form = ProjectChangeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(self._shown(change_project(project, actor=actor_of(request), **form.validated_data)))

    @extend_schema(
        operation_id="projects_archive", summary="Archive a project", request=None, responses=ProjectSerializer
    )
    @action(detail=True, methods=["post"])
    def archive(self, request: Request, name: str) -> Response:
        """Its records stay; nothing new is launched in it. Refused while it has open runners."""
        return Response(self._shown(archive_project(self.get_object(), actor=actor_of(request))))

    @extend_schema(
        operation_id="projects_history", summary="Show what became of a project", responses=VersionSerializer(many=True)
    )
    @action(detail=True, filterset_class=None, pagination_class=None)
    def history(self, request: Request, name: str) -> Response:
        """The newest 200 versions of it and of its quota, newest first, with who made them."""
        return Response(VersionSerializer(history_of(self.get_object()), many=True).data)

    def _shown(self, project: Project) -> Any:
        return self.get_serializer(self.get_queryset().get(pk=project.pk)).data


@extend_schema_view(list=extend_schema(summary="List nodes"), retrieve=extend_schema(summary="Show a node"))
@extend_schema(tags=["nodes"])
class NodeViewSet(viewsets.ReadOnlyModelViewSet[Node]):
    """Machines that run runners. A node enters itself when its agent starts."""

    serializer_class = NodeSerializer
    permission_classes = [ActPermissions]
    lookup_field = "name"
    lookup_value_converter = "slug"
    act_permissions = {"drain": "runners.change_node", "undrain": "runners.change_node"}

    def get_queryset(self) -> QuerySet[Node]:
        return Node.objects.with_occupied().order_by("name")

    @extend_schema(operation_id="nodes_drain", summary="Drain a node", request=None, responses=NodeSerializer)
    @action(detail=True, methods=["post"])
    def drain(self, request: Request, name: str) -> Response:
        """It takes no new runners; those it has go on."""
        return self._shown(drain_node(self.get_object(), actor=actor_of(request)))

    @extend_schema(
        operation_id="nodes_undrain",
        summary="Let a drained node take runners again",
        request=None,
        responses=NodeSerializer,
    )
    @action(detail=True, methods=["post"])
    def undrain(self, request: Request, name: str) -> Response:
        return self._shown(undrain_node(self.get_object(), actor=actor_of(request)))

    def _shown(self, node: Node) -> Response:
        return Response(self.get_serializer(self.get_queryset().get(pk=node.pk)).data)
